"""The folders of a run and of what it publishes."""

from dataclasses import dataclass

from transforms.storage import join_path

PUBLISHED = ("data", "rejected", "dead_letters", "scored", "decided")
"""What a run leaves, beside manifest.json and README.md."""
WORK = ("evaluation", "spilled", "unjudged", "deciding", "shuffled", "kept", "remembered", "ranked")
"""What only the run itself needs; deleted before publication."""


@dataclass(frozen=True)
class Folders:
    """Where a run works: everything lies under one staging folder until it is published."""

    root: str
    """The staging folder."""

    @property
    def data(self) -> str:
        """Published shards."""
        return join_path(self.root, "data")

    @property
    def rejected(self) -> str:
        """Parquet files of rejected documents."""
        return join_path(self.root, "rejected")

    @property
    def dead_letters(self) -> str:
        """JSONL files of unreadable records."""
        return join_path(self.root, "dead_letters")

    @property
    def scored(self) -> str:
        """Scored shards, the input of remix."""
        return join_path(self.root, "scored")

    @property
    def decided(self) -> str:
        """Decision files as the mix found them: remix starts from these when nothing before the mix has changed."""
        return join_path(self.root, "decided")

    @property
    def spilled(self) -> str:
        """Chunks of inputs that cannot be split where they lie."""
        return join_path(self.root, "spilled")

    @property
    def unjudged(self) -> str:
        """Shards scored by all but the detector, where that is a step of its own."""
        return join_path(self.root, "unjudged")

    def deciding(self, step: str) -> str:
        """Decision files after one `step` of DECIDE: what lies in no later step's place."""
        return join_path(self.root, "deciding", step)

    @property
    def lines(self) -> str:
        """Lines that several documents hold, while they are judged."""
        return self.deciding("repeated_lines")

    @property
    def clusters(self) -> str:
        """Groups of linked near-duplicates, for a cap on them."""
        return self.deciding("near_clusters")

    @property
    def remembered(self) -> str:
        """Decision files after the ledger was asked, and what is asked and listed."""
        return join_path(self.root, "remembered")

    @property
    def ranked(self) -> str:
        """Ranks of documents within their clusters, where the mix takes turns over these."""
        return join_path(self.root, "ranked")

    @property
    def shuffled(self) -> str:
        """What is shuffled to find near-duplicates and ranks, where it lies on a disk that all workers share."""
        return join_path(self.root, "shuffled")

    @property
    def kept(self) -> str:
        """Kept rows on their way to the output shards."""
        return join_path(self.root, "kept")

    @property
    def manifest(self) -> str:
        """The manifest."""
        return join_path(self.root, "manifest.json")

    @property
    def card(self) -> str:
        """The dataset card."""
        return join_path(self.root, "README.md")

    @property
    def refusal(self) -> str:
        """Why a step of the graph stopped the run, for the command line to read: exit code and message."""
        return join_path(self.root, "refusal.json")
