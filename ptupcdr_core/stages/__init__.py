"""One function an asset: what each stage of a pair reads and leaves."""
