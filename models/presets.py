"""Published parameter sets of one model class, chosen by name."""

from brainsim.errors import UnknownNameError, unknown


def preset(model, sets, name, changes):
    """An instance of `model` with the parameters `sets[name]`, some of them replaced by `changes`."""
    if name not in sets:
        raise UnknownNameError(f"{model.__name__}: {unknown('preset', name, sets)}")
    return model(**{**sets[name], **changes})
