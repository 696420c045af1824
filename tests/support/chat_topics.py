"""What a chat is about, by its first message: a data set of three classes made from the self-dialogue corpus, and how
accurate a fine-tuned starter is on it with 25 to 1,000 labeled rows (the table in docs/own-data.md).

    python -m tests.support.chat_topics DATA_DIR OUT            # OUT/chats.csv, 1,000 rows with columns text and label
    python -m tests.support.chat_topics DATA_DIR OUT --curve    # trains; OUT/curve.md

DATA_DIR/text/self_dialogue/self_dialogue.jsonl (jfainberg/self_dialogue_corpus on GitHub, BSD-3) has a conversation a
line, `{topic, turns}`. Movies, music and sport are the classes, equally often; of each conversation the first message.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from experiments import finetune

TOPICS = {
    "movies": ("movies", "action", "comedy", "horror", "superhero", "thriller"),
    "music": ("music", "rock", "pop", "rap_hiphop"),
    "sport": ("nfl_football", "baseball", "basketball", "icehockey"),
}
TEST, SIZES, SEEDS = 999, (25, 50, 100, 200, 500, 1000), (0, 1, 2)
VALIDATION = 8  # every eighth of the labeled rows


def chats(data_dir: Path, rows: int, seed: int = 0) -> pd.DataFrame:
    """First messages, no two the same, with equally many of each class, shuffled."""
    classes = {topic: name for name, topics in TOPICS.items() for topic in topics}
    found: Any = pd.read_json(data_dir / "text" / "self_dialogue" / "self_dialogue.jsonl", lines=True)
    table: Any = pd.DataFrame(
        {"text": found["turns"].str[0].str.strip(), "label": found["topic"].map(classes)}
    ).dropna()
    table = table[~table["text"].str.casefold().duplicated() & (table["text"] != "")]
    each = -(-rows // len(TOPICS))
    chosen = table.groupby("label").sample(each, random_state=seed)
    return chosen.sample(frac=1, random_state=seed).head(rows)


def labeled(pool: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    """So many rows of the pool, some of each class in both of its parts."""
    rows = pool.sample(frac=1, random_state=seed)
    place = rows.groupby("label").cumcount()
    rows = rows.iloc[place.argsort(kind="stable")].head(size)
    return rows.assign(
        split=["val" if number % VALIDATION < 1 else "train" for number in rows.groupby("label").cumcount()]
    )


def words(train: pd.DataFrame, test: pd.DataFrame) -> float:
    """The accuracy of a logistic regression on words and pairs of them, weighted by tf-idf."""
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    )
    return float(model.fit(train["text"], train["label"]).score(test["text"], test["label"]))


def curve(data_dir: Path, out: Path) -> pd.DataFrame:
    """Test accuracy by number of rows and seed (of rows and training): the starter, words and, with most
    rows, its network with random weights. Every result is written when it is there, and not measured again."""
    everything = chats(data_dir, TEST + max(SIZES) * 2)
    test, pool = everything.head(TEST).assign(split="test"), everything.iloc[TEST:]
    log = out / "curve.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {(one["rows"], one["seed"]) for one in done}
    for seed, size in product(SEEDS, sorted(SIZES, reverse=True)):
        if (size, seed) in known:
            continue
        rows = labeled(pool, size, seed)
        pd.concat([rows, test]).to_csv(out / f"chats-{size}-{seed}.csv", index=False)
        found = {"rows": size, "seed": seed, "words": words(rows, test)}
        for weights in ("pretrained", "random") if size == max(SIZES) else ("pretrained",):
            given = {"data": out / f"chats-{size}-{seed}.csv", "split": "split", "seed": seed, "weights": weights}
            result = finetune.main([f"--{name}={value}" for name, value in {**given, "register": "false"}.items()])
            assert result is not None
            found |= {weights: result.metrics["test_accuracy"], f"{weights}_s": result.train_seconds}
        done.append(found)
        with log.open("a") as file:
            file.write(json.dumps(found) + "\n")
    return pd.DataFrame(done)


def table(found: Any) -> str:
    """Mean and standard deviation over the seeds as Markdown."""
    lines = [
        "| labeled rows | starter, fine-tuned | its network, random weights | words, logistic regression | training |",
        "|---|---|---|---|---|",
    ]
    for size, those in found.groupby("rows"):
        cells = [
            f"{those[name].mean():.1%} ± {those[name].std() * 100:.1f}" if those[name].notna().all() else ""
            for name in ("pretrained", "random", "words")
        ]
        lines.append(f"| {size:,} | {' | '.join(cells)} | {those['pretrained_s'].mean():.0f} s |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--curve", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.curve:
        chats(given.data_dir, 1000).to_csv(given.out / "chats.csv", index=False)
        return
    text = table(curve(given.data_dir, given.out.absolute()))
    (given.out / "curve.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
