// Prints the id of each line of stdin, or `refused`.
#include <iostream>

#include "text_id.hpp"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << homespec::text_id(line) << '\n';
    } catch (const std::invalid_argument&) {
      std::cout << "refused\n";
    }
  }
}
