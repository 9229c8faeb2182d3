"""Scores of a classification study of which every result is known by hand."""

POLICIES = ("freezeall", "unfreezeall")
NETWORKS = ("keras_resnet50", "densenet121")
# Of 20 and 10 patients by fractions of 0.2 and 0.3: 4 and 2 validate, 6 and 3 test.
TESTED, VALIDATED = (6, 3), (4, 2)


def known(cell, split, case_id, label):
    """DenseNet with all learning is always right; with nothing learning it is so in validation, and then blind.

    ResNet with all learning is right in the validation of shuffle 0, whose test it turns round, and blind in the
    validation of shuffle 1, whose test it gets right; with nothing learning it always says 0.5.
    """
    right, turned = (0.9, 0.1) if label else (0.1, 0.9)
    if cell.network == "densenet121":
        if cell.policy == "unfreezeall":
            return right
        return 0.05 if split == "test" else 0.2 + 0.6 * label
    if cell.policy == "freezeall":
        return 0.5
    if cell.shuffle == 0:
        return right if split == "validation" else turned
    return 0.5 if split == "validation" else right
