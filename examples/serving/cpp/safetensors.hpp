// Reads the tensors of a safetensors file: 8 bytes of length, that much JSON, then all numbers.
#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace homespec {

using Tensors = std::map<std::string, at::Tensor>;

// The header, which is JSON of one shape: {"NAME": {"dtype": "F32", "shape": [..],
// "data_offsets": [begin, end]}, ..}. Names of a spec hold no quotes.
class Header {
 public:
  explicit Header(std::string json) : json_(std::move(json)) {}

  // The next name, or "" at the end.
  std::string next() {
    while (at_ < json_.size() && json_[at_] != '"') ++at_;
    if (at_ == json_.size()) return "";
    std::string name = quoted();
    end_ = json_.find('}', at_);
    return name;
  }

  std::string text(const std::string& key) {
    at_ = json_.find('"', find(key));
    return quoted();
  }

  std::vector<int64_t> numbers(const std::string& key) {
    size_t begin = json_.find('[', find(key)) + 1;
    size_t end = json_.find(']', begin);
    std::vector<int64_t> found;
    while (begin < end) {
      found.push_back(std::stoll(json_.substr(begin)));
      begin = std::min(json_.find(',', begin), end) + 1;
    }
    return found;
  }

  void leave() { at_ = end_; }

 private:
  size_t find(const std::string& key) {
    size_t found = json_.find('"' + key + "\":", start_of_entry());
    if (found >= end_) throw std::runtime_error("a tensor without " + key);
    return found + key.size() + 3;
  }

  size_t start_of_entry() { return json_.rfind('{', end_); }

  std::string quoted() {
    size_t close = json_.find('"', at_ + 1);
    std::string word = json_.substr(at_ + 1, close - at_ - 1);
    at_ = close + 1;
    return word;
  }

  std::string json_;
  size_t at_ = 0;
  size_t end_ = 0;
};

inline at::ScalarType type_of(const std::string& name) {
  if (name == "I64") return at::kLong;
  if (name == "F32") return at::kFloat;
  if (name == "F64") return at::kDouble;
  throw std::runtime_error("a tensor of type " + name);
}

inline Tensors read_safetensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), sizeof length);  // little-endian, as the machine
  std::string json(length, ' ');
  file.read(json.data(), static_cast<std::streamsize>(length));
  Header header(json);
  Tensors tensors;
  for (std::string name = header.next(); !name.empty(); header.leave(), name = header.next()) {
    if (name == "__metadata__") continue;
    at::Tensor tensor = at::empty(header.numbers("shape"), type_of(header.text("dtype")));
    file.seekg(static_cast<std::streamoff>(8 + length + header.numbers("data_offsets")[0]));
    file.read(static_cast<char*>(tensor.data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
    if (!file) throw std::runtime_error(path + " ends within " + name);
    tensors.emplace(name, tensor);
  }
  return tensors;
}

}  // namespace homespec
