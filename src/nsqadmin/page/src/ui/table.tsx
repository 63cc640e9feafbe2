// Tables: sorted by what the address says, with totals first, and long ones only as far as visible.

import { Component, type ComponentChildren } from 'preact';
import { useMemo, useRef } from 'preact/hooks';
import { count } from '../lib/format';
import { useParam } from '../lib/router';
import { useOverflow } from './overflow';
import { ROW_PX, WHOLE_MAX, useWindowing } from './windowing';

export type Value = string | number | null | undefined;

export interface Column<R> {
  id: string;
  title: string;
  /** Said by the heading when the pointer rests on it. */
  hint?: string;
  /** Columns that stand together under one heading. */
  group?: string;
  /** What is sorted by, and shown where there is no `cell`. */
  value: (row: R) => Value;
  cell?: (row: R) => ComponentChildren;
  total?: ComponentChildren;
  /** Text stands at the start, numbers at the end. */
  text?: boolean;
  unsorted?: boolean;
}

interface Props<R> {
  label: string;
  columns: Column<R>[];
  /** Null while nothing is known. */
  rows: R[] | null;
  keyOf: (row: R) => string;
  /** The parameter of the address that holds the order, such as `-depth`. */
  sortParam: string;
  sortFirst: string;
  empty: ComponentChildren;
  /** What is said instead of numbers, for a row that has none. */
  note?: (row: R) => ComponentChildren;
  rowClass?: (row: R) => string;
  totals?: boolean;
  /** Rows of different heights: all are rendered. */
  whole?: boolean;
  /** Another way to sort, for rows that belong to each other. */
  arrange?: (rows: R[], column: Column<R>, descending: boolean) => R[];
}

const collator = new Intl.Collator('en', { numeric: true });

function compare(a: Value, b: Value): number {
  if (typeof a === 'string' && typeof b === 'string') return collator.compare(a, b);
  return Number(a) - Number(b);
}

const isMissing = (value: Value) => value === null || value === undefined;

export function sorted<R>(rows: R[], column: Column<R>, descending: boolean): R[] {
  const sign = descending ? -1 : 1;
  const keyed = rows.map((row) => ({ row, key: column.value(row) }));
  keyed.sort((a, b) => {
    // What is not known comes last, whichever way.
    if (isMissing(a.key) || isMissing(b.key))
      return Number(isMissing(a.key)) - Number(isMissing(b.key));
    return sign * compare(a.key, b.key);
  });
  return keyed.map(({ row }) => row);
}

const sideOf = <R,>(column: Column<R>) => (column.text ? 'text' : 'number');

export function DataTable<R>(props: Props<R>) {
  const { columns, rows } = props;
  const [order, setOrder] = useParam(props.sortParam, props.sortFirst);
  const descending = order.startsWith('-');
  const by = descending ? order.slice(1) : order;
  const column = columns.find((candidate) => candidate.id === by) ?? columns[0];
  const list = useMemo(
    () => (rows && column ? (props.arrange ?? sorted)(rows, column, descending) : []),
    [rows, column?.id, descending],
  );
  const body = useRef<HTMLTableSectionElement>(null);
  const span = useWindowing(body, list.length, props.whole ?? false);
  const shown = list.slice(span.from, span.to);
  const isLong = !props.whole && list.length > WHOLE_MAX;
  const place = useRef<HTMLDivElement>(null);
  const overflows = useOverflow(place);
  const isEmpty = rows !== null && list.length === 0;
  return (
    <div
      ref={place}
      class={`table ${overflows ? 'overflows' : ''}`}
      role={overflows ? 'region' : undefined}
      aria-label={overflows ? `${props.label}, scrolls sideways` : undefined}
      tabIndex={overflows ? 0 : undefined}
    >
      <table
        class={isLong ? 'long' : ''}
        hidden={isEmpty}
        aria-label={props.label}
        aria-rowcount={isLong ? list.length + 1 : undefined}
      >
        <Head columns={columns} by={column?.id} descending={descending} order={setOrder} />
        {props.totals && list.length > 1 ? <Totals columns={columns} /> : null}
        <tbody ref={body}>
          <Gap rows={span.from} columns={columns.length} />
          {shown.map((row, index) => (
            <Row
              key={props.keyOf(row)}
              row={row}
              columns={columns}
              look={props.rowClass?.(row) ?? ''}
              index={isLong ? span.from + index + 2 : undefined}
              note={props.note}
            />
          ))}
          <Gap rows={list.length - span.to} columns={columns.length} />
          {rows === null ? <Skeleton columns={columns.length} /> : null}
        </tbody>
      </table>
      {isEmpty ? props.empty : null}
    </div>
  );
}

interface HeadProps<R> {
  columns: Column<R>[];
  by: string | undefined;
  descending: boolean;
  order: (order: string) => void;
}

function Head<R>({ columns, by, descending, order }: HeadProps<R>) {
  const next = (column: Column<R>) => {
    // Numbers are looked at from the top, names from A.
    const first = column.text ? column.id : `-${column.id}`;
    const other = column.text ? `-${column.id}` : column.id;
    order(by === column.id && descending === first.startsWith('-') ? other : first);
  };
  return (
    <thead>
      {columns.some((column) => column.group) ? <Groups columns={columns} /> : null}
      <tr>
        {columns.map((column) => {
          const isBy = by === column.id && !column.unsorted;
          const direction = descending ? 'descending' : 'ascending';
          return (
            <th
              key={column.id}
              scope="col"
              class={sideOf(column)}
              aria-sort={isBy ? direction : undefined}
              title={column.hint}
            >
              {column.unsorted ? (
                column.title
              ) : (
                <button type="button" class="sort" onClick={() => next(column)}>
                  {column.title}
                  <span class="arrow" aria-hidden="true">
                    {isBy ? (descending ? '↓' : '↑') : ''}
                  </span>
                </button>
              )}
            </th>
          );
        })}
      </tr>
    </thead>
  );
}

function Groups<R>({ columns }: { columns: Column<R>[] }) {
  const groups: { name: string; span: number }[] = [];
  for (const column of columns) {
    const last = groups[groups.length - 1];
    if (last && last.name === (column.group ?? '')) last.span += 1;
    else groups.push({ name: column.group ?? '', span: 1 });
  }
  return (
    <tr class="groups">
      {groups.map(({ name, span }, index) =>
        name ? (
          <th key={index} colSpan={span} scope="colgroup">
            {name}
          </th>
        ) : (
          <td key={index} colSpan={span} />
        ),
      )}
    </tr>
  );
}

function Totals<R>({ columns }: { columns: Column<R>[] }) {
  return (
    <tbody class="totals">
      <tr>
        {columns.map((column, index) =>
          index === 0 ? (
            <th key={column.id} scope="row">
              {column.total ?? 'Total'}
            </th>
          ) : (
            <td key={column.id} class={sideOf(column)}>
              {column.total}
            </td>
          ),
        )}
      </tr>
    </tbody>
  );
}

interface RowProps<R> {
  row: R;
  columns: Column<R>[];
  look: string;
  index: number | undefined;
  note: ((row: R) => ComponentChildren) | undefined;
}

/** Rendered again only when its row or its columns are others: searching moves rows about. */
class Row<R> extends Component<RowProps<R>> {
  override shouldComponentUpdate(next: RowProps<R>): boolean {
    const { row, columns, look, index } = this.props;
    return (
      row !== next.row || columns !== next.columns || look !== next.look || index !== next.index
    );
  }

  override render() {
    const { look, index } = this.props;
    return (
      <tr class={look} aria-rowindex={index}>
        <Cells {...this.props} />
      </tr>
    );
  }
}

function Cells<R>({ row, columns, note }: RowProps<R>) {
  const said = note?.(row) ?? null;
  const shown = said === null ? columns : columns.slice(0, 1);
  return (
    <>
      {shown.map((column, index) => {
        const content = column.cell ? column.cell(row) : plain(column.value(row));
        return index === 0 ? (
          <th key={column.id} scope="row" class={sideOf(column)}>
            {content}
          </th>
        ) : (
          <td key={column.id} class={sideOf(column)}>
            {content}
          </td>
        );
      })}
      {said === null ? null : (
        <td class="note" colSpan={columns.length - 1}>
          {said}
        </td>
      )}
    </>
  );
}

function plain(value: Value): ComponentChildren {
  return typeof value === 'string' ? value : count(value);
}

/** What stands for rows that are out of sight. */
function Gap({ rows, columns }: { rows: number; columns: number }) {
  if (rows <= 0) return null;
  return (
    <tr class="gap" aria-hidden="true">
      <td colSpan={columns} style={{ height: `${rows * ROW_PX}px` }} />
    </tr>
  );
}

function Skeleton({ columns }: { columns: number }) {
  return (
    <>
      {[0, 1, 2, 3].map((row) => (
        <tr key={row} class="skeleton" aria-hidden="true">
          {Array.from({ length: columns }, (_, index) => (
            <td key={index}>
              <span />
            </td>
          ))}
        </tr>
      ))}
    </>
  );
}
