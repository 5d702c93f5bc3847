# Makes `tests` this folder: without this file it would be the package of the same name that lava-nc installs.
