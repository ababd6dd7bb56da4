"""The `scc-numba` command. Each file beside this one is a sub-command; `frame` and `arguments` serve them all."""

from __future__ import annotations

import typer

from scc_numba.cli import bench, check, doctor, ladder, model, mutants, profile, run, sass

app = typer.Typer(
    name="scc-numba",
    help="Sliding-channel convolution in Numba-CUDA, rung by rung.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("ladder", epilog=ladder.EPILOG)(ladder.ladder_command)
app.command("check", epilog=check.EPILOG)(check.check_command)
app.command("mutants", epilog=mutants.EPILOG)(mutants.mutants_command)
app.command("profile", epilog=profile.EPILOG)(profile.profile_command)
app.command("run", epilog=run.EPILOG, context_settings=run.CONTEXT)(run.run_command)
app.command("sass", epilog=sass.EPILOG)(sass.sass_command)
app.command("model", epilog=model.EPILOG)(model.model_command)
app.command("bench", epilog=bench.EPILOG)(bench.bench_command)
app.command("doctor")(doctor.doctor_command)
