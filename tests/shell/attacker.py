"""A half-open attacker on one memory node of this host: python3 attacker.py ADDRESS PORT POOL KEY_FILE CONNECTIONS RATE

Opens so many connections in all, at most RATE a second, and holds each until the node hangs up: silent ones, ones that trickle, ones
that talk nonsense, wrong keys, recorded openings, each played once and one again and again. Beside it a few with the right key that go wrong after the
set-up. Prints `opened ...` when all are made, goes on until SIGTERM (at most two minutes), and prints what came of it. It waits for most of its time: a flood of
processor time is not what it is about.
"""
import collections
import multiprocessing
import os
import random
import resource
import selectors
import signal
import socket
import sys
import threading
import time

import noise

address, port, pool, key_file = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
connections, rate = int(sys.argv[5]), int(sys.argv[6])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
MOST_HELD = min(connections, hard - 200)
STEP = 0.2
# A node answers each once.
recorded = [noise.Initiator(key_file).opening for _ in range(connections // 9 + 1)]
begun = time.monotonic()
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
counts = collections.Counter()

MAGIC = b"\0rdmafs\0\1\0"
# What is said at once, and what then trickles, a byte at a time.
KINDS = {
    "silent": (b"", b""),
    "trickling": (b"", MAGIC + bytes(56)),
    "half an opening": (MAGIC + bytes(20), b""),
    "another protocol": (b"GET / HTTP/1.0\r\n\r\n", b""),
    "100 KB of ones": (b"\xff" * 100_000, b""),
    "a wrong key": (MAGIC + os.urandom(56), b""),
    "another version": (b"\0rdmafs\0\x63\0" + bytes(90_000), b""),
    "recorded": (recorded[0], b"\x40\0" + bytes(64)),
    "a replay and an oversized Hello": (recorded[0] + b"\xff\xff" + bytes(65_535), b""),
}


def connect(number):
    s = socket.socket()
    s.setblocking(False)
    if number % 2 and address.startswith("127."):
        # From many addresses, and from the one that honest handlers of this host have.
        s.bind((f"127.0.0.{2 + number % 200}", 0))
    s.connect_ex((address, port))
    return s


def flood():
    waiting = selectors.DefaultSelector()
    held, next_step, opened = {}, 0.0, 0

    def drop(s, why):
        waiting.unregister(s)
        del held[s]
        s.close()
        counts[why] += 1

    def say(s, what):
        try:
            return s.send(what)
        except BlockingIOError:
            return 0
        except OSError:
            drop(s, "hung up on")
            return None

    while not ended.is_set() and time.monotonic() - begun < 120:
        due = min(connections, int((time.monotonic() - begun) * rate))
        while opened < due and len(held) < MOST_HELD:
            kind = list(KINDS)[opened % len(KINDS)]
            s = connect(opened)
            held[s] = [kind, *KINDS[kind], time.monotonic()]
            if kind == "recorded" and recorded:
                held[s][1] = recorded.pop()
            waiting.register(s, selectors.EVENT_READ | (selectors.EVENT_WRITE if KINDS[kind][0] else 0))
            opened += 1
            counts["most at once"] = max(counts["most at once"], len(held))
            if opened == connections:
                print(f"opened {opened} in {time.monotonic() - begun:.1f} s", flush=True)
        for key, events in waiting.select(0.02):
            s = key.fileobj
            if events & selectors.EVENT_WRITE and s in held:
                sent = say(s, held[s][1])
                if sent is not None:
                    held[s][1] = held[s][1][sent:]
                    if not held[s][1]:
                        waiting.modify(s, selectors.EVENT_READ)
            if events & selectors.EVENT_READ and s in held:
                try:
                    if not s.recv(4096):
                        drop(s, "hung up on")
                except OSError:
                    drop(s, "hung up on")
        now = time.monotonic()
        if now >= next_step:
            next_step = now + STEP
            for s, state in list(held.items()):
                counts["longest held, ms"] = max(counts["longest held, ms"], int(1000 * (now - state[3])))
                if not state[1] and state[2]:
                    if say(s, state[2][:1]):
                        state[2] = state[2][1:]
    counts["opened"] = opened
    for s in list(held):
        drop(s, "held to the end")


def hear(s, count):
    got = b""
    while len(got) < count:
        more = s.recv(count - len(got))
        if not more:
            raise ConnectionResetError("hung up")
        got += more
    return got


def set_up(hello):
    """A connection whose set-up is done, and its token; the first is None when it was refused."""
    s = socket.create_connection((address, port), timeout=10)
    channel = noise.Initiator(key_file)
    s.sendall(channel.opening)
    channel.finish(hear(s, 59))
    s.sendall(channel.record(hello))
    answer = channel.receiving.open(hear(s, int.from_bytes(hear(s, 2), "little")))
    if answer[0] != 0:
        return None, channel, b""
    return s, channel, answer[-32:]


def with_the_key():
    """Set up rightly, then garbage; each a few times, and each must be hung up on or refused."""
    kept = []
    for what in range(10_000):
        if ended.wait(0.05):
            break
        try:
            s, channel, token = set_up(noise.control(pool))
            if s is None:
                counts["refused with the key"] += 1
                continue
            counts["let in"] += 1
            match what % 7:
                case 0:
                    s.sendall(os.urandom(70_000))
                case 1:
                    s.sendall(b"\xff\xff" + bytes(65_535))
                case 2:
                    s.sendall(channel.record(b"\0" + os.urandom(100)))
                case 3:
                    s.sendall(channel.record(b"\7what is this"))
                case 4:
                    s.sendall(b"\x10")
                    kept.append(s)
                case 5:
                    lane, _, _ = set_up(noise.data(pool, token))
                    lane.sendall(os.urandom(4096))
                    kept.append(s)
                case 6:
                    # A write of 1 MiB of which half comes.
                    lane, _, _ = set_up(noise.data(pool, token))
                    lane.sendall(bytes(16) + (1 << 20).to_bytes(4, "little") + b"\1\0\0\0" + bytes(1 << 19))
                    kept += [s, lane]
            if what % 7 < 4:
                s.settimeout(10)
                while s.recv(65536):
                    pass
                counts["hung up on, with the key"] += 1
        except TimeoutError:
            counts["NOT HUNG UP ON"] += 1
        except OSError:
            counts["hung up on, with the key"] += 1


def keyed(results):
    with_the_key()
    results.send(dict(counts))


# A process of its own: what it reckons for the key would wait for the flood's turns.
here, there = multiprocessing.Pipe()
beside = multiprocessing.get_context("fork").Process(target=keyed, args=(there,), daemon=True)
beside.start()
flood()
beside.terminate()
came = here.poll(20)
counts.update(here.recv() if came else {})
print(", ".join(f"{what}: {count}" for what, count in sorted(counts.items())), flush=True)
sys.stdout.flush()
os._exit(1 if not came or counts["NOT HUNG UP ON"] else 0)
