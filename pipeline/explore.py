"""`headwater explore SCORED_DIR`: a local page on which a mix is tried out with sliders, from the scores of an earlier run."""

from __future__ import annotations

from argparse import Namespace

from pipeline.errors import UsageError
from pipeline.explore_recipe import tomli_w
from pipeline.explore_server import listen, serve
from pipeline.explore_session import Session

TITLE = "Headwater explorer"


def run_explore(parsed: Namespace) -> None:
    """Opens the run, serves the page until Ctrl-C, and leaves nothing behind. Raises HeadwaterError."""
    tomli_w()
    try:
        import nicegui  # noqa: F401
    except ImportError as error:
        raise UsageError(f"explore needs {error.name or 'nicegui'}, which is not installed; run: pip install 'headwater[explore]'") from error
    listening = listen(parsed.port)
    given = [*(["--recipe", parsed.recipe] if parsed.recipe else []), *(f"--set={one}" for one in parsed.set or ())]
    try:
        session = Session(parsed.scored_dir, given)
    except BaseException:
        listening.close()
        raise
    try:
        serve(application(session), listening, open_browser=not parsed.no_browser)
    finally:
        session.close()
    print("Ended; nothing was written beside the scored run.")


def application(session: Session):
    """The web application that shows `session`; one in a process."""
    import fastapi
    from nicegui import ui

    from pipeline.explore_page import Page

    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.run_with(app, root=lambda: (Page(session), None)[1], title=TITLE, language="en-US", tailwind=False, show_welcome_message=False)
    return app
