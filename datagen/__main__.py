"""``python -m datagen``: the generator without the rest of the lakehouse."""

from datagen.cli import app

if __name__ == "__main__":
    app(prog_name="python -m datagen")
