if __name__ != "brainsim.models":
    raise ImportError(f"this folder is the package brainsim.models, imported as {__name__!r}; write `import brainsim.models`")
