// Scores the sample of an export with model.pt2 and compares: score DIR.
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <iostream>

#include "model.hpp"
#include "safetensors.hpp"

constexpr double TOLERANCE = 1e-4;

int score(const std::string& folder) {
  c10::InferenceMode inference;
  homespec::Model model(folder + "/model.pt2");
  auto features = homespec::read_safetensors(folder + "/sample_inputs.safetensors");
  auto expected = homespec::read_safetensors(folder + "/sample_outputs.safetensors");
  auto outputs = model(features);
  for (const auto& [task, wanted] : expected) {
    const at::Tensor& found = outputs.at(task);
    if (!at::allclose(found, wanted, TOLERANCE, TOLERANCE)) {
      std::cerr << task << " is not what the trained model gives\n";
      return 1;
    }
    std::cout << task << " " << found[0].item<float>() << '\n';
  }
  // What the loader would read as other numbers, silently, the package refuses by name.
  const std::string& first = model.inputs().front();
  features[first] = features[first].to(at::kInt);
  try {
    model(features);
  } catch (const std::exception& error) {
    std::cout << "refused: " << error.what() << '\n';
  }
  std::cout << expected.begin()->second.size(0)
            << " rows are as the trained model scores them\n";
  return 0;
}

int main(int count, char** words) {
  if (count != 2) {
    std::cerr << "usage: score DIR\n";
    return 2;
  }
  try {
    return score(words[1]);
  } catch (const c10::Error& error) {
    std::cerr << "error: " << words[1] << ": " << error.what_without_backtrace() << '\n';
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
