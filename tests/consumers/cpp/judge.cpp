// Judges recorded reps with a TorchScript core: judge core.pt rep.txt ...
// Prints the core's metadata, then a line of probabilities per recording.
// A recording is "fps_hz frames points", then x, y, score of every point of every frame; nan = missing.
#include <torch/script.h>

#include <fstream>
#include <iomanip>
#include <iostream>

int main(int argc, char** argv) try {
  torch::NoGradGuard no_grad;
  torch::jit::ExtraFilesMap extra{{"metadata.json", ""}};
  auto core = torch::jit::load(argv[1], torch::kCPU, extra);
  std::cout << extra["metadata.json"] << "\n" << std::setprecision(9);
  for (int i = 2; i < argc; i++) {
    std::ifstream recording(argv[i]);
    float fps_hz;
    int64_t frames, points;
    if (!(recording >> fps_hz >> frames >> points)) throw std::runtime_error(std::string(argv[i]) + ": no recording");
    std::vector<float> values;
    for (std::string word; recording >> word;) values.push_back(std::stof(word));  // >> into a float refuses nan
    if (values.size() != size_t(frames * points * 3)) throw std::runtime_error(std::string(argv[i]) + ": cut short");
    auto keypoints = torch::from_blob(values.data(), {1, frames, points, 3});
    auto out = core.forward({keypoints, torch::full({1}, fps_hz), torch::full({1}, frames)}).toTuple();
    auto probabilities = out->elements()[0].toTensor();  // (1, L)
    for (int64_t label = 0; label < probabilities.size(1); label++)
      std::cout << (label ? " " : "") << probabilities[0][label].item<float>();
    std::cout << "\n";
  }
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
