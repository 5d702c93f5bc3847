"""`python -m dyadic_neuro.cli`."""

from dyadic_neuro.cli import main

main()
