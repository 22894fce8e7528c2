"""An interrupt is not lost even where Python ignores exceptions."""

import subprocess
import sys

LOSES_IT = """
import os, signal, time, weakref
from ptupcdr_dagster.running.interrupts import send_lost_interrupts_again

class Thing: ...

def pressed(_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)

send_lost_interrupts_again()
thing = Thing()
seen = weakref.ref(thing, pressed)
try:
    del thing
    print("lost")
    time.sleep(60)
except KeyboardInterrupt:
    print("heard")
"""
OTHER = (
    "import ptupcdr_dagster.running.interrupts as i; i.send_lost_interrupts_again()\n"
    + """
class Thing:
    def __del__(self):
        raise ValueError("in a finalizer")

Thing()
"""
)


def run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_an_interrupt_inside_of_a_callback_comes_again():
    done = run(LOSES_IT)
    assert (done.stdout.split(), done.stderr) == (["lost", "heard"], "")


def test_other_errors_in_a_finalizer_are_reported_as_usual():
    assert "ValueError: in a finalizer" in run(OTHER).stderr
