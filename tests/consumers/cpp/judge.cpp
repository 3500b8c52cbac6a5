// Judges recorded reps with a TorchScript core: judge core.pt rep.txt ...
// Prints the core's metadata, then a line of probabilities per recording.
#include <torch/script.h>

#include "recording.h"

int main(int argc, char** argv) try {
  torch::NoGradGuard no_grad;
  torch::jit::ExtraFilesMap extra{{"metadata.json", ""}};
  auto core = torch::jit::load(argv[1], torch::kCPU, extra);
  std::cout << extra["metadata.json"] << "\n";
  for (int i = 2; i < argc; i++) {
    auto rep = read_rep(argv[i]);
    say(core.forward({rep.keypoints, rep.fps_hz, rep.frames}).toTuple()->elements()[0].toTensor());
  }
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
