"""Who is in charge of a line, and how that changes: what a night and a person have in common.

in_charge        which version is in charge, by MLflow and by the lake's own evidence
journal          a change of champion, written down first, carried out whole, recorded
gate_overrides   whether a verdict was made easier to pass, and a person's word that it may count all the same
verdict_rows     verdicts as the lake keeps them, and whether their signatures hold
"""
