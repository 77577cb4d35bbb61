if __name__ != "brainsim.ops":
    raise ImportError(f"this folder is the package brainsim.ops, imported as {__name__!r}; write `import brainsim.ops`")
