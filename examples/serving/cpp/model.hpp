// A package of homespec export: features by name -> outputs by task.
#pragma once

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace homespec {

using Tensors = std::map<std::string, at::Tensor>;

// The loader itself takes tensors by position. The names in the order of the positions are in the
// package's metadata; types, shapes and rows the package checks itself, by name.
class Model {
 public:
  explicit Model(const std::string& path) : loader_(path) {
    auto metadata = loader_.get_metadata();
    inputs_ = names(metadata, "inputs");
    outputs_ = names(metadata, "outputs");
  }

  // Throws std::runtime_error for features that are missing, unknown or not as the model needs them.
  Tensors operator()(const Tensors& features) {
    std::vector<at::Tensor> ordered;
    for (const std::string& name : inputs_) {
      auto found = features.find(name);
      if (found == features.end()) throw std::runtime_error("the input `" + name + "` is missing");
      ordered.push_back(found->second);
    }
    if (features.size() != inputs_.size())
      throw std::runtime_error(
          std::to_string(features.size()) + " features, and the model takes " +
          std::to_string(inputs_.size()));
    std::vector<at::Tensor> scores = loader_.run(ordered);
    Tensors outputs;
    for (size_t i = 0; i < outputs_.size(); ++i) outputs.emplace(outputs_[i], scores.at(i));
    return outputs;
  }

  const std::vector<std::string>& inputs() const { return inputs_; }

 private:
  static std::vector<std::string> names(
      const std::unordered_map<std::string, std::string>& metadata, const std::string& key) {
    auto found = metadata.find(key);
    if (found == metadata.end()) throw std::runtime_error("not a package of homespec export");
    std::istringstream text(found->second);
    std::vector<std::string> parts;
    for (std::string name; std::getline(text, name, ',');) parts.push_back(name);
    return parts;
  }

  torch::inductor::AOTIModelPackageLoader loader_;
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
};

}  // namespace homespec
