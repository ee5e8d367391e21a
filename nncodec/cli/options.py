"""Options that several commands have, with their help."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from nncodec.levels import LEVELS

# typer evaluates these at run time, so they keep Optional, which every supported Python accepts.
Files = Annotated[Optional[list[str]], typer.Argument(help="Files or URLs; - or none is stdin.")]
Output = Annotated[Optional[str], typer.Option("-o", "--output", help="Write to this file.")]
Stdout = Annotated[bool, typer.Option("-c", "--stdout", help="Write to standard output.")]
Keep = Annotated[bool, typer.Option("-k", "--keep", help="Keep the input (the default).")]
Remove = Annotated[bool, typer.Option("--rm", help="Remove the input once the output is verified.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite; compress .nnc again.")]
Model = Annotated[
    Optional[str],
    typer.Option(
        "-m",
        "--model",
        envvar="NNCODEC_MODEL",
        help="A model's name or folder, or a causal LM's folder or USER/REPO.",
    ),
]


def level_option(said: str) -> Any:
    return typer.Option("-l", "--level", min=min(LEVELS), max=max(LEVELS), help=said)


Level = Annotated[
    int, level_option("-1 (fastest, context models alone) to -9 (smallest); -6 is the default.")
]
OtherModel = Annotated[
    Optional[str],
    typer.Option("-m", "--model", help="A model outside the search path: its folder."),
]
BaseFile = Annotated[
    Optional[str],
    typer.Option("--base", help="The file of tensors that this one was made from: keep it."),
]
Lanes = Annotated[
    Optional[int],
    typer.Option(min=1, max=256, help="Of somebody else's model: so many lanes at most."),
]
Context = Annotated[
    Optional[int], typer.Option(min=4, help="The same: it sees so many tokens at most.")
]
Dtype = Annotated[Optional[str], typer.Option(help="The same: float32, bfloat16 or float16.")]
Device = Annotated[Optional[str], typer.Option(help="The same: cpu or cuda.")]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="The same: do not decode what was coded, to be sure.")
]
BlockSize = Annotated[
    Optional[str],
    typer.Option(
        "--block-size",
        metavar="SIZE",
        help="1K to 16M (the default): smaller for finer --range, at a cost in size.",
    ),
]
Recursive = Annotated[
    bool, typer.Option("-r", "--recursive", help="Take the files in folders, to any depth.")
]
Range = Annotated[
    Optional[str],
    typer.Option(
        "--range",
        metavar="A:B",
        help="Only the bytes from A on, before B, to standard output: of 5M:6M little is decoded.",
    ),
]
MaxOutput = Annotated[
    Optional[str],
    typer.Option("--max-output", metavar="SIZE", help="Refuse archives that decode to more bytes."),
]
Memory = Annotated[
    Optional[str],
    typer.Option("--memory", metavar="SIZE", help="Refuse blocks that take more to decode."),
]
AnyEnvironment = Annotated[
    bool,
    typer.Option("--any-environment", help="Try although float arithmetic was another's."),
]
Threads = Annotated[
    int,
    typer.Option(
        "-T", "--threads", envvar="NNCODEC_THREADS", min=0, max=1024, help="0: all cores."
    ),
]
Engine = Annotated[
    Optional[str],
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="Who codes the blocks: auto (the default), inline, thread, process or ray.",
    ),
]
WorkerCount = Annotated[
    Optional[int],
    typer.Option("--workers", min=1, max=4096, help="So many of them; default: one a core."),
]
Quiet = Annotated[int, typer.Option("-q", "--quiet", count=True, help="No summary, no bar.")]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more.")]
