"""crowd-kit's Dawid-Skene on a table of votes; run by `dawid_skene.py` in an environment of its own.

    python crowd_kit_run.py votes.npy posteriors.npy --iterations 20 --repeat 3

Its last line is one JSON object: the seconds of each fit, from its data frame to its posteriors.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("votes", type=Path)
    parser.add_argument("posteriors", type=Path)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    codes = np.load(options.votes)
    tasks, workers = np.nonzero(codes >= 0)
    votes = pd.DataFrame({"task": tasks, "worker": workers, "label": codes[tasks, workers].astype(int)})
    seconds = []
    for _ in range(options.repeat):
        started = time.perf_counter()
        model = DawidSkene(n_iter=options.iterations, tol=-float("inf")).fit(votes)  # never ends early
        seconds.append(time.perf_counter() - started)
    shares = model.probas_.sort_index()
    posteriors = np.zeros((len(codes), int(codes.max()) + 1))
    posteriors[np.ix_(shares.index.to_numpy(), shares.columns.to_numpy())] = shares.to_numpy()
    np.save(options.posteriors, posteriors)
    print(json.dumps({"seconds": seconds, "crowd_kit": version("crowd-kit"), "pandas": version("pandas")}))


if __name__ == "__main__":
    main()
