// A recorded rep as a core takes it, N = 1: "fps_hz frames points", then x, y, score of every point of every frame; nan = missing.
#pragma once
#include <ATen/ATen.h>

#include <fstream>
#include <iomanip>
#include <iostream>

struct Rep {
  at::Tensor keypoints, fps_hz, frames;  // (1, T, K, 3), (1), (1)
};

inline Rep read_rep(const std::string& path) {
  std::ifstream recording(path);
  float fps_hz;
  int64_t frames, points;
  if (!(recording >> fps_hz >> frames >> points)) throw std::runtime_error(path + ": no recording");
  std::vector<float> values;
  for (std::string word; recording >> word;) values.push_back(std::stof(word));  // >> into a float refuses nan
  if (values.size() != size_t(frames * points * 3)) throw std::runtime_error(path + ": cut short");
  return {at::tensor(values).view({1, frames, points, 3}), at::full({1}, fps_hz), at::full({1}, frames)};
}

inline void say(const at::Tensor& probabilities) {  // (1, L)
  std::cout << std::setprecision(9);
  for (int64_t label = 0; label < probabilities.size(1); label++)
    std::cout << (label ? " " : "") << probabilities[0][label].item<float>();
  std::cout << "\n";
}
