"""What the compiled program does: it waits for words on its standard input, sets values, runs, and gives values back.

    set NAME BYTES <bytes>      the variable NAME ("neurons.u") takes these bytes
    run STEPS                   so many steps from time 0; answers "done"
    get NAME                    answers with the number of bytes, a line, and the bytes

It ends when its standard input does, also in the middle of a run, and so never outlives the process that started it.
"""

from __future__ import annotations

from collections.abc import Mapping

HEADERS = ("<iostream>", "<string>", "<thread>", "<cstdlib>", "<poll.h>")
MONITORS = ("recorder", "events")

_LOOP = """
    auto where = [&](const std::string& name, char*& start, size_t& bytes) {{
        {table}
        std::cerr << "no variable is called " << name << std::endl;
        std::_Exit(1);
    }};
    std::thread([] {{
        pollfd input = {{0, 0, 0}};
        while (poll(&input, 1, -1) < 1 || !(input.revents & (POLLHUP | POLLERR))) {{}}
        std::_Exit(0);
    }}).detach();
    std::string word, name;
    char* start = nullptr;
    size_t bytes = 0, announced = 0;
    long long steps = 0;
    while (std::cin >> word) {{
        if (word == "run") {{
            std::cin >> steps;
            {forget}
            {clock}_timestep[0] = 0;
            {clock}_t[0] = 0;
            dyadic_circuit.t = 0;
            dyadic_circuit.run(steps * {clock}_dt[0], NULL, 10.0);
            std::cout << "done" << std::endl;
            continue;
        }}
        std::cin >> name;
        where(name, start, bytes);
        if (word == "set") {{
            std::cin >> announced;
            std::cin.get();
            if (announced != bytes) {{
                std::cerr << name << " has " << bytes << " bytes, not " << announced << std::endl;
                std::_Exit(1);
            }}
            std::cin.read(start, bytes);
        }} else {{
            std::cout << bytes << '\\n';
            std::cout.write(start, bytes);
            std::cout.flush();
        }}
    }}
    std::_Exit(0);
"""


def loop(clock: str, arrays: Mapping[str, tuple[str, int]], vectors: Mapping[str, str]) -> str:
    """Return the text of main.

    `clock` is what the names of the clock's arrays begin with. `arrays` maps names to the expression of a pointer and a
    number of elements, `vectors` to that of a std::vector.
    """
    lines = [
        f'if (name == "{name}") {{ start = (char*)({code}); bytes = {count} * sizeof(*({code})); return; }}'
        for name, (code, count) in arrays.items()
    ]
    lines += [
        f'if (name == "{name}") {{ start = (char*)({code}).data(); bytes = ({code}).size() * sizeof(({code})[0]); return; }}'
        for name, code in vectors.items()
    ]
    forget = [f"{code}.clear();" for name, code in vectors.items() if name.split(".")[0] in MONITORS]
    forget += [f"*({code}) = 0;" for name, (code, _) in arrays.items() if name in [f"{m}.N" for m in MONITORS]]
    return _LOOP.format(table="\n        ".join(lines), forget="\n            ".join(forget), clock=clock)
