"""`simattn machines`."""

from ..hierarchy.catalogue import machines
from ..show.console import show
from ..show.tables import machines_table
from .options import Json, echo_json


def command(json_: Json = False) -> None:
    """List the GPUs whose capacities simattn knows; with --json, the source of each figure."""
    known = machines()
    if json_:
        echo_json({"machines": [vars(m) for m in known]})
    else:
        show(machines_table(known))
