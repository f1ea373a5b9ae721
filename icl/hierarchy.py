"""More classes than a model has slots: a tree of questions that it has slots for.

At the root the classes form groups, and the question is which group; inside a group of several classes, asked of that
group's rows only, the next question is which class. The probability of a class is the product along its path. That is
the chain rule, so calibrated answers give calibrated probabilities, and no repair of inconsistent answers is needed,
as one-vs-rest or error-correcting codes would. Rows are used about once for each level of the tree.

Source:
    Ensembles of nested dichotomies, Frank & Kramer (2004), doi:10.1145/1015330.1015363, here with many branches.
"""

from __future__ import annotations

import numpy as np


def class_questions(order: np.ndarray, limit: int) -> np.ndarray:
    """The questions of a balanced tree over the classes.

    Args:
        order: (C,) permutation of the classes; neighbours in it share a group.
        limit: most answers to a question, at least 2.
    Returns:
        (Q, C) int: the answer, 0 ... limit - 1, that stands for each class; -1 where a class is not in the question.
        Along the rows in which it is, a class is told apart from every other.
    """
    n_classes = len(order)
    if n_classes <= limit:
        answers = np.empty(n_classes, dtype=np.int64)
        answers[order] = np.arange(n_classes)
        return answers[None]
    # As few groups as keep the tree as shallow as it can be: the group sizes are then as even as the leaves allow.
    capacity = limit
    while capacity * limit < n_classes:
        capacity *= limit
    groups = np.array_split(order, -(-n_classes // capacity))
    root = np.empty(n_classes, dtype=np.int64)
    questions = [root[None]]
    for answer, group in enumerate(groups):
        root[group] = answer
        if len(group) > 1:
            inner = class_questions(np.arange(len(group)), limit)
            outer = np.full((len(inner), n_classes), -1, dtype=np.int64)
            outer[:, group] = inner
            questions.append(outer)
    return np.concatenate(questions)
