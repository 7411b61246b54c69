/** Each of the crew hoists the flag of their first letter, of the International Code of Signals. */

import type { ReactNode } from 'react';

const BLUE = '#0b4ea2';
const RED = '#c8102e';
const YELLOW = '#ffc72c';
const WHITE = '#ffffff';

const FLAGS: Record<string, ReactNode> = {
  a: (
    <>
      <path fill={WHITE} d="M0 0h18v24H0z" />
      <path fill={BLUE} d="M18 0h18l-8 12 8 12H18z" />
    </>
  ),
  b: <path fill={RED} d="M0 0h36l-8 12 8 12H0z" />,
  c: (
    <>
      <path fill={BLUE} d="M0 0h36v24H0z" />
      <path fill={WHITE} d="M0 4.8h36v14.4H0z" />
      <path fill={RED} d="M0 9.6h36v4.8H0z" />
    </>
  ),
  d: (
    <>
      <path fill={YELLOW} d="M0 0h36v24H0z" />
      <path fill={BLUE} d="M0 6h36v12H0z" />
    </>
  ),
};

const SWALLOWTAIL = 'M.5.5h35l-7.7 11.5 7.7 11.5H.5z';
const RECTANGLE = 'M.5.5h35v23H.5z';

interface FlagProps {
  of: string;
  className?: string;
}

/** Beside a name, which says the same: hidden from who cannot see it. */
export function Flag({ of, className = '' }: FlagProps) {
  const letter = of.charAt(0).toLowerCase();
  return (
    <svg className={`flag ${className}`} viewBox="0 0 36 24" aria-hidden="true">
      {FLAGS[letter] ?? <path fill={YELLOW} d="M0 0h36v24H0z" />}
      <path className="flag-edge" fill="none" d={'ab'.includes(letter) ? SWALLOWTAIL : RECTANGLE} />
    </svg>
  );
}

/** The ship's own: a pennant on its halyard. */
export const Mark = () => (
  <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
    <path d="M8 3v26" stroke="currentColor" strokeWidth="2.5" strokeLinecap="round" />
    <path d="M10 6h19l-6 6.5 6 6.5H10z" fill={YELLOW} />
  </svg>
);
