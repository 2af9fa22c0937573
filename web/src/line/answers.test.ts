import { describe, expect, it } from 'vitest';
import { end, forgetRunning, noAnswers, takeDelta, textsOf, type Answers, type Delta } from './answers';
import { dice } from './simulation';

/** Takes deltas and shows what an app would. */
function reader() {
  let answers: Answers = noAnswers;
  let shown: string | undefined;
  return {
    take(connection: number, seq: number, text: string, restart?: true) {
      const delta: Delta = { id: 'a', seq, text, ...(restart && { restart }) };
      const taken = takeDelta(answers, connection, delta);
      answers = taken.answers;
      if (taken.change) shown = (taken.change.restart ? '' : (shown ?? '')) + taken.change.text;
      return this;
    },
    end() {
      answers = end(answers, 'a');
      return this;
    },
    lose() {
      answers = forgetRunning(answers);
      return this;
    },
    get shown() {
      return shown;
    },
    get known() {
      return textsOf(answers);
    },
  };
}

describe('deltas', () => {
  it('are appended in order, and doubles make no difference', () => {
    const r = reader().take(1, 0, 'a').take(1, 0, 'a').take(1, 1, 'b').take(1, 0, 'a').take(1, 2, 'c');
    expect(r.shown).toBe('abc');
    expect(r.known).toEqual([{ id: 'a', text: 'abc' }]);
  });

  it('begin with a restart, so that an app can append without a thought', () => {
    const { change } = takeDelta(noAnswers, 1, { id: 'a', seq: 0, text: 'x' });
    expect(change).toEqual({ id: 'a', restart: true, text: 'x' });
  });

  it('that come too early are kept until the missing one comes', () => {
    const r = reader().take(1, 0, 'a').take(1, 2, 'c').take(1, 3, 'd');
    expect(r.shown).toBe('a');
    expect(r.take(1, 1, 'b').shown).toBe('abcd');
  });

  it('after a gap that does not fill change nothing until a restart', () => {
    const r = reader().take(1, 0, 'a');
    for (let seq = 2; seq < 200; seq++) r.take(1, seq, 'x');
    expect(r.shown).toBe('a');
    expect(r.take(1, 200, 'whole', true).take(1, 201, '!').shown).toBe('whole!');
  });

  it('in the middle of an answer show nothing to whoever joins, until a restart', () => {
    const r = reader().take(1, 7, 'x').take(1, 8, 'y');
    expect(r.shown).toBeUndefined();
    expect(r.known).toEqual([]);
    expect(r.take(1, 9, 'so far', true).shown).toBe('so far');
  });

  it('of a new connection begin with all so far, and late ones of the old are ignored', () => {
    const r = reader().take(1, 0, 'a').take(1, 1, 'b').take(2, 3, 'abcd', true).take(1, 2, 'c').take(2, 4, 'e');
    expect(r.shown).toBe('abcde');
    expect(r.take(1, 2, 'abc', true).shown).toBe('abcde');
  });

  it('of a text that begins again are not mixed with those of the first', () => {
    const r = reader().take(1, 0, 'a').take(1, 1, 'b').take(1, 4, 'e').take(1, 0, 'A', true).take(1, 1, 'B');
    expect(r.take(1, 2, 'C').take(1, 3, 'D').shown).toBe('ABCD');
  });

  it('after the end are ignored', () => {
    const r = reader().take(1, 0, 'a').end().take(1, 1, 'b').take(2, 2, 'abc', true).end();
    expect(r.shown).toBe('a');
    expect(r.known).toEqual([]);
  });

  it('after a lost line continue nothing', () => {
    const r = reader().take(1, 0, 'a').lose().take(2, 1, 'b');
    expect(r.shown).toBe('a');
    expect(r.take(2, 2, 'abc', true).shown).toBe('abc');
  });

  it('lost, doubled and shuffled never show what was not said', () => {
    for (let seed = 0; seed < 500; seed++) {
      const random = dice(seed);
      const pieces = Array.from({ length: 30 }, (_, i) => String.fromCharCode(97 + (i % 26)));
      const whole = (upTo: number) => pieces.slice(0, upTo + 1).join('');
      const stream: [number, string, true?][] = [];
      pieces.forEach((piece, seq) => {
        const roll = random();
        if (roll < 0.1) stream.push([seq, whole(seq), true]);
        else if (roll > 0.15) stream.push([seq, piece]);
        const last = stream.at(-1);
        if (last && random() < 0.2) stream.push(last);
      });
      // Neighbours change places.
      for (let i = 1; i < stream.length; i++) {
        const [a, b] = [stream[i - 1], stream[i]];
        if (a && b && !a[2] && !b[2] && random() < 0.2) [stream[i - 1], stream[i]] = [b, a];
      }
      const r = reader();
      for (const [seq, text, restart] of stream) {
        r.take(1, seq, text, restart);
        expect(whole(29).startsWith(r.shown ?? ''), `seed ${seed}`).toBe(true);
      }
      expect(r.take(1, 30, `${whole(29)}!`, true).shown).toBe(`${whole(29)}!`);
    }
  });
});
