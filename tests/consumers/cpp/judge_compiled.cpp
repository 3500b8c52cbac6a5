// Judges recorded reps with a core that AOTInductor compiled: judge_compiled core.aoti.pt2 rep.txt ...
// Prints the core's metadata, then a line of probabilities per recording.
// Link torch, torch_cpu and c10, torch by -Wl,--no-as-needed: the package looks for it.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cmath>
#include <cstdlib>

#include "recording.h"

int main(int argc, char** argv) try {
  setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 1);  // else a wrong shape, type or layout gives wrong numbers without a word
  torch::inductor::AOTIModelPackageLoader core(argv[1]);
  std::cout << core.get_metadata()["metadata.json"] << "\n";
  for (int i = 2; i < argc; i++) {
    auto rep = read_rep(argv[i]);
    auto rise_ratio = at::full({1}, NAN);  // unknown
    auto out = core.run({rep.keypoints, rep.fps_hz, rep.frames, rise_ratio});
    say(out[0]);
  }
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
