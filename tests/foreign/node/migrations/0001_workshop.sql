CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE
);

CREATE TABLE repairs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers (id),
    status text NOT NULL DEFAULT 'received' CHECK (status IN ('received', 'in work', 'ready', 'collected')),
    description text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX repairs_by_status ON repairs (status, received_at DESC, id DESC);
CREATE INDEX repairs_by_customer ON repairs (customer_id);

CREATE TABLE parts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repair_id bigint NOT NULL REFERENCES repairs (id),
    name text NOT NULL,
    price integer NOT NULL CHECK (price >= 0)
);
CREATE INDEX parts_by_repair ON parts (repair_id);
