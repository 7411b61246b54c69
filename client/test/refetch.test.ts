import { expect, test } from 'vitest';
import { refetching } from '../src/auto/refetch';
import { fake } from './fake';

test('what is asked for in the moment in which a read ends is read, too', async () => {
  for (let turns = 0; turns < 10; turns++) {
    let reads = 0;
    let end!: () => void;
    const refetch = refetching(fake().realtime, (then) => then(), () => {
      if (++reads === 1) return new Promise<void>((resolve) => (end = resolve));
    });
    refetch();
    await new Promise((done) => setTimeout(done));
    end();
    for (let turn = 0; turn < turns; turn++) await undefined;
    refetch();
    await new Promise((done) => setTimeout(done));
    expect([turns, reads]).toEqual([turns, 2]);
  }
});
