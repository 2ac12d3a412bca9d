"""The ledger against a plain model of it, over any sequence of commands."""

import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.errors import ConfigError, RefusedError
from jobs.ledger import audit, book, care, events, state, table
from tests.ledgers import DAY, outcomes_file, planned

CAP, WINDOW = 2, timedelta(days=7)
contacts = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3]), st.sampled_from(["data", "voice"]), st.sampled_from(["sms"])
    ),
    unique=True,
    max_size=3,
)
days = st.integers(0, 12).map(lambda day: DAY + timedelta(days=day))


class Model(RuleBasedStateMachine):
    """Contacts by run, and what became of each; summed up ones without their run."""

    @initialize()
    def begin(self):
        self.home = Path(mkdtemp())
        self.ledger = self.home / "ledger"
        self.runs, self.live, self.summed, self.answers = [], {}, [], Counter()
        self.sent, self.released, self.folders = set(), {}, 0

    def counted(self):
        """Return all contacts; those summed up are told a second apart."""
        apart = [
            (who, at - timedelta(seconds=n), *what)
            for who, at, *what, count in self.summed for n in range(count)
        ]  # fmt: skip
        return [*self.live.values(), *apart]

    def over(self, plan):
        """Return whether a window with a planned contact has more than the cap."""
        both = [(*one, False) for one in self.counted()] + [(*one, True) for one in plan]
        for who, end, *_ in both:
            window = [x for x in both if x[0] == who and end - WINDOW < x[1] <= end]
            if len(window) > CAP and any(x[-1] for x in window):
                return True
        return False

    def plan(self, rows, as_of):
        self.folders += 1
        run = planned(self.home / f"run{self.folders}", self.ledger, rows, as_of=as_of)
        return run, as_of, [(who, as_of, offer, channel) for who, offer, channel in rows]

    def booked(self, run, as_of, plan):
        self.runs.append((run, as_of))
        number = len(self.runs) - 1
        self.live |= {(number, (who, *what)): (who, at, *what) for who, at, *what in plan}

    @rule(rows=contacts, as_of=days)
    def commit(self, rows, as_of):
        run, as_of, plan = self.plan(rows, as_of)
        try:
            assert book.book(run, self.ledger).rows == len(rows)
        except RefusedError:
            assert self.over(plan)
            return
        assert not self.over(plan)
        self.booked(run, as_of, plan)

    @rule(rows=contacts, others=contacts, as_of=days)
    def commit_while_another_does(self, rows, others, as_of):
        first, second = self.plan(rows, as_of), self.plan(others, as_of)
        if self.over(second[2]):
            return
        check, overtaken = book.refuse, []

        def refuse(run, ledger):
            check(run, ledger)
            if not overtaken:
                overtaken.append(run)
                assert book.book(second[0], self.ledger).rows == len(others)
                self.booked(*second)

        book.refuse = refuse
        try:
            assert book.book(first[0], self.ledger).rows == len(rows)
        except RefusedError:
            assert self.over(first[2])
        else:
            assert not self.over(first[2])
            self.booked(*first)
        finally:
            book.refuse = check

    @rule(data=st.data(), rebook=st.booleans())
    def commit_again(self, data, rebook):
        if not self.runs:
            return
        number = data.draw(st.sampled_from(range(len(self.runs))))
        run, _ = self.runs[number]
        own = {key: one for key, one in self.released.items() if key[0] == number}
        try:
            booked = book.book(run, self.ledger, rebook=rebook)
        except ConfigError:
            assert own and not rebook
        except RefusedError:
            assert self.over(own.values())
        else:
            assert booked.already == (not own)
            assert not own or (booked.rows == len(own) and not self.over(own.values()))
            self.live |= own
            self.released = {k: one for k, one in self.released.items() if k not in own}

    @rule(data=st.data(), as_of=days)
    def cancel(self, data, as_of):
        if not self.runs:
            return
        number = data.draw(st.sampled_from(range(len(self.runs))))
        own = [key for key, one in self.live.items()
               if key[0] == number and one[1] > as_of and key not in self.sent]  # fmt: skip
        assert book.cancel(self.runs[number][0], self.ledger, as_of).rows == len(own)
        for key in own:
            self.released[key] = self.live.pop(key)

    @rule(data=st.data(), outcome=st.sampled_from(["sent", "failed", "accepted"]))
    def answer(self, data, outcome):
        if not self.live:
            return
        key = data.draw(st.sampled_from(sorted(self.live)))
        who, at, offer, channel = self.live[key]
        rows = [(who, (at + timedelta(hours=1)).isoformat(), offer, channel, outcome)]
        path = self.home / "answers.csv"
        outcomes_file(path, rows, run=[self.runs[key[0]][0].fingerprint])
        is_new = not events.add_outcomes(path, self.ledger).already
        assert is_new == ((key, outcome) not in self.sent)
        if is_new:
            self.answers[who, outcome] += 1
        self.sent |= {key, (key, outcome)}
        if outcome == "failed":
            del self.live[key]

    @rule(day=days)
    def purge(self, day):
        if table.opened(self.ledger) is None:
            return
        care.purge(self.ledger, day.date())
        self.released = {k: one for k, one in self.released.items() if one[1] >= day}
        old = [key for key, one in self.live.items() if one[1] < day]
        for key in old:
            self.summed.append((*self.live.pop(key), 1))
        before, self.summed = self.summed, [one for one in self.summed if one[1] >= day]
        latest, counts = {}, Counter()
        for who, at, *what, count in (one for one in before if one[1] < day):
            latest[who, *what] = max(at, latest.get((who, *what), at))
            counts[who, *what] += count
        self.summed += [(who, latest[who, *w], *w, counts[who, *w]) for who, *w in counts]

    @rule(who=st.sampled_from([1, 2, 3]))
    def erase(self, who):
        if table.opened(self.ledger) is None:
            return
        care.erase(self.ledger, [str(who)])
        self.live = {key: one for key, one in self.live.items() if one[0] != who}
        self.released = {key: one for key, one in self.released.items() if one[0] != who}
        self.summed = [one for one in self.summed if one[0] != who]
        self.answers = Counter({k: n for k, n in self.answers.items() if k[0] != who})

    @rule()
    def compact(self):
        if table.opened(self.ledger) is not None:
            care.compact(self.ledger)

    @invariant()
    def the_ledger_says_what_the_model_says(self):
        if not hasattr(self, "ledger") or table.opened(self.ledger) is None:
            return
        found = table.existing(self.ledger)
        rows = state.contacts(found, freed=state.freed(found)).to_pylist()
        told = Counter((r["subscriber"], r["time"], r["offer"], r["channel"]) for r in rows)
        assert told == Counter(self.counted())
        answers = state.outcomes(found, ["subscriber", "outcome"]).to_pylist()
        assert Counter((r["subscriber"], r["outcome"]) for r in answers) == self.answers
        audit.verified(self.ledger)

    def teardown(self):
        if hasattr(self, "home"):
            shutil.rmtree(self.home)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
