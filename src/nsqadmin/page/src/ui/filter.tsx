// What narrows a list; its state lives in the address.

import { count } from '../lib/format';
import { Icon } from './icons';

interface SearchProps {
  value: string;
  onInput: (value: string) => void;
  label: string;
}

export function Search({ value, onInput, label }: SearchProps) {
  return (
    <label class="search">
      <Icon name="search" />
      <span class="hidden">{label}</span>
      <input
        type="search"
        placeholder={label}
        autocomplete="off"
        spellcheck={false}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <kbd aria-hidden="true">/</kbd>
    </label>
  );
}

interface Choice {
  id: string;
  text: string;
  amount?: number | undefined;
}

interface ChoicesProps {
  label: string;
  value: string;
  choices: Choice[];
  onChoose: (id: string) => void;
}

export function Choices({ label, value, choices, onChoose }: ChoicesProps) {
  return (
    <div class="choices" role="group" aria-label={label}>
      {choices.map(({ id, text, amount }) => (
        <button key={id} type="button" aria-pressed={value === id} onClick={() => onChoose(id)}>
          {text}
          {amount === undefined ? null : <span class="amount">{count(amount)}</span>}
        </button>
      ))}
    </div>
  );
}
