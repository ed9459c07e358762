"""The papers' tables, made again: trained, measured and compared with the published figures, in one command each."""
