"""Which instance type for Llama 2 13B? JumpStart on Inferentia2 and on GPUs, deployed, measured, compared and deleted.

It is the whole story of a benchmark on SageMaker, but for SageMaker itself: `OfflineAWS` answers boto3 from this machine, so no
account is needed and nothing is billed. Its models and speeds are made up. Without its `with` block, and with a role of yours,
the same benchmark runs on AWS.

Needs the extra "aws". Usage: python sagemaker_offline.py FOLDER
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

from fmbench import SLO, Benchmark, Concurrency, Parameters
from fmbench.deployers import JumpStart
from fmbench.prompts import Dataset
from fmbench.simulator.aws import OfflineAWS

BUCKETS = [(1, 500), (500, 1000), (1000, 2000), (2000, 3000), (3000, 3900)]
QUESTIONS = 16
WARMUP = 2
SPEED = 10
"""Everything runs so many times faster than made up, for nobody wants to wait: so a second there is 0.1 here."""
TEMPLATE = "Answer the question from the text.\n\n{context}\n\nQuestion: {question}\nAnswer:"


class Words:
    """Counts words, as the offline AWS's models do. For real models, name the folder of their tokenizer."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """The length of each text."""
        return [len(text.split()) for text in texts]


def write_questions(path: Path) -> None:
    """Questions with their contexts, of every length, in the form of LongBench: here from Python's own documentation."""
    draw = random.Random(0)
    words = " ".join(topics.values()).split()
    with path.open("w", encoding="utf-8") as file:
        for low, high in BUCKETS:
            for number in range(QUESTIONS + WARMUP):
                length = draw.randrange(low + 20, high - 20)
                start = draw.randrange(len(words) - length)
                context = " ".join(words[start : start + length])
                row = {"context": context, "input": f"What is said here of {words[start]}?", "language": "en"}
                file.write(json.dumps({"_id": f"{low}-{high}-{number}", **row}) + "\n")


def main(folder: str) -> None:
    """Deploy, measure, choose; then look whether anything is left."""
    here = Path(folder)
    here.mkdir(parents=True, exist_ok=True)
    questions = here / "questions.jsonl"
    write_questions(questions)
    prompts = Dataset(questions, template=TEMPLATE, language="en")
    with OfflineAWS(create_seconds=2, delete_seconds=0.5, speed=SPEED, log=here / "truth.jsonl") as aws:
        os.environ.update(aws.environment)
        benchmark = Benchmark(
            deployers=[
                JumpStart(
                    "meta-textgenerationneuron-llama-2-13b-f",
                    name="inf2",
                    instance_type="ml.inf2.48xlarge",
                    accept_eula=True,
                    env={"OPTION_MAX_ROLLING_BATCH_SIZE": "8"},
                ),
                JumpStart("meta-textgeneration-llama-2-13b-f", name="g5", instance_type="ml.g5.12xlarge", accept_eula=True),
            ],
            prompts=prompts.split(BUCKETS),
            tokenizer=Words(),
            loads=[Concurrency(n, requests=QUESTIONS) for n in (1, 2, 4)],
            parameters=Parameters(
                max_new_tokens=25, temperature=0.1, top_p=0.92, top_k=120, do_sample=True, truncate="at-prompt-token-length"
            ),
            warmup=WARMUP,
            reporters=["csv", "markdown"],  # `fmbench report FOLDER/run` makes the page, with every chart
            max_usd=25,
        )
        result = benchmark.run(here / "run")
        left = aws.resources()
        billed = {one["name"]: one["billed_seconds"] for one in aws.state()["gone"] if one["kind"] == "endpoint"}
    shown = ["experiment", "instance_type", "concurrency", "tps", "latency_p50_seconds", "ttft_p50_seconds"]
    print(result.summary[shown].to_string(index=False))
    print(result.advise(SLO(latency_p50_seconds=1 / SPEED), requests_per_minute=6000))
    print(f"On AWS: {len(left)} things left; endpoints stood for {sum(billed.values()):.0f} instance-seconds.")
    if left or not (result.records.status == "ok").all():
        sys.exit(f"left: {left}; failed: {result.records.error_message.dropna().unique()}")


if __name__ == "__main__":
    main(sys.argv[1])
