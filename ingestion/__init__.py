"""Pure: parse, map, validate and clean one file. Bytes in, frames in the canonical columns out."""
