"""Prompts of our own for machine text to train on: kinds of text times subjects, and openings that a model continues without being asked.

None is taken from a labelled set: what the detector learns from the answers says nothing about those sets' own prompts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CHAT_KINDS = {
    "review": (
        "Write a customer review of {}.",
        "Write an honest review of {} with one complaint.",
        "You did not like {}. Write a review that says why.",
        "Write an enthusiastic review about {}.",
    ),
    "essay": (
        "Write a short essay about {}.",
        "Do the advantages of {} outweigh the disadvantages? Write an essay with your opinion.",
        "Write a school essay that argues against {}.",
        "Write an essay for a language examination: what does {} mean for young people?",
    ),
    "story": (
        "Write a short story about {}.",
        "Write a story in the first person that begins with {}.",
        "Write a sad story in which {} matters.",
        "Continue this story: Nobody in the village spoke of {} after that night.",
    ),
    "news": (
        "Write a news article about {}.",
        "Write a report for a local newspaper on {}.",
        "Write a news agency's item with figures and a quotation about {}.",
        "Write the business news of the day about {}.",
    ),
    "abstract": (
        "Write the abstract of a scientific paper about {}.",
        "Summarise a study on {} as an abstract of one paragraph.",
        "Write the abstract of a survey of methods for {}.",
    ),
    "encyclopaedia": (
        "Write an encyclopaedia article about {}.",
        "Write the introduction of an encyclopaedia entry on the history of {}.",
        "Describe {} in the neutral style of a reference work.",
    ),
    "answer": (
        "Explain {} to a beginner.",
        "What should I know about {}? Answer in a few paragraphs.",
        "Why do people disagree about {}?",
        "How does {} work? Answer like a person in an online forum.",
    ),
    "letter": (
        "Write an e-mail to a colleague about {}.",
        "Write a formal letter of complaint about {}.",
        "Write a letter to an old friend that mentions {}.",
    ),
    "blog": (
        "Write a blog post about {}.",
        "Write a diary entry of somebody who spent the day with {}.",
        "Write a personal post about what {} taught me.",
    ),
    "speech": ("Write a speech about {}.", "Write what a politician would say in parliament about {}."),
    "guide": ("Write a guide to {} in plain paragraphs.", "Give advice on {} without a list."),
    "plot": ("Write a review of a film about {}.", "Tell the plot of a novel about {}."),
}  # fmt: skip
"""Kind of text -> instructions with a place for the subject."""

OPENINGS = {
    "review": ("I bought this because of {}, and", "We had heard a lot about {} before we came here."),
    "essay": ("Many people believe that {} is", "There are two sides to the question of {}."),
    "story": ("It was late in the autumn when {}", "She had never thought much about {} until"),
    "news": ("Officials said on Tuesday that {}", "The debate over {} took a new turn this week when"),
    "abstract": ("In this paper we study {}.", "Despite much recent work, {} remains"),
    "encyclopaedia": ("The history of {} goes back to", "In general usage, {} refers to"),
    "answer": ("The short answer about {} is", "I have worked with {} for about ten years and"),
    "blog": ("So today I want to talk about {}.", "Yesterday I finally understood {}."),
}  # fmt: skip
"""Kind of text -> openings that a model goes on writing from, with a place for the subject."""

SUBJECTS = (
    "a small seaside hotel", "public libraries", "electric bicycles", "learning the piano as an adult", "a broken washing machine", "night trains",
    "the price of bread", "river floods", "school uniforms", "a lost dog", "solar panels on old houses", "working from home", "bee keeping",
    "a long winter", "the first day at a new school", "mobile phones in class", "an Italian restaurant", "vaccination campaigns", "wind farms",
    "mathematical proofs", "protein folding", "graph algorithms", "sleep and memory", "urban trees", "a football match in the rain", "tax reform",
    "the discovery of penicillin", "medieval bridges", "a haunted lighthouse", "space telescopes", "second-hand books", "noise in big cities",
    "a family dinner", "robots in hospitals", "tourism on small islands", "the fall of an empire", "volunteer fire brigades", "coffee",
    "an old typewriter", "marathon training", "plastic waste in the sea", "university fees", "a wireless headset", "black holes", "antibiotics",
    "the migration of birds", "translation", "chess", "a bank merger", "oil prices", "grain exports", "interest rates", "a court ruling",
    "a train strike", "elections in a small town", "video games", "social networks and friendship", "zoos", "the death penalty", "organ donation",
    "home schooling", "fast food", "a hair dryer", "a dentist who was late", "a car repair shop", "a hotel breakfast", "an action film", "a romantic comedy",
    "a documentary about whales", "the invention of paper", "the geology of volcanoes", "quantum computers", "image recognition", "speech recognition",
    "random matrices", "galaxy clusters", "superconductors", "clinical trials", "soil bacteria", "traffic models", "gardening on a balcony",
    "moving to another country", "a childhood friend", "an unexpected inheritance", "a journey by ship", "the last wolf", "a stolen painting",
    "a village without water", "a letter that came too late", "the mayor's clock", "an orchestra", "folk songs", "cheese making", "knitting",
    "mountain huts", "a broken promise", "insurance", "privacy on the internet", "spreadsheets", "password managers", "a programming language",
    "sorting numbers", "debugging", "version control", "regular expressions", "time zones", "a museum of trains", "the circus", "street musicians",
)  # fmt: skip
"""What the texts are about."""


@dataclass(frozen=True)
class Prompt:
    """What a model is asked to write, or to go on from."""

    kind: str
    """Kind of text."""
    text: str
    """The instruction, or the opening."""
    is_chat: bool
    """Whether it is an instruction; otherwise an opening."""


def draw_prompts(seed: int) -> Iterator[Prompt]:
    """Prompts without end, three instructions to one opening, kinds and subjects equally often. The same seed gives the same ones, in order."""
    random = np.random.default_rng(seed)
    while True:
        subjects = random.permutation(len(SUBJECTS))
        for place, subject in enumerate(subjects.tolist()):
            is_chat = place % 4 != 3
            kinds = CHAT_KINDS if is_chat else OPENINGS
            kind = list(kinds)[int(random.integers(len(kinds)))]
            template = kinds[kind][int(random.integers(len(kinds[kind])))]
            yield Prompt(kind, template.format(SUBJECTS[subject]), is_chat)
