"""A small data set of TPC-H's shape, and its 22 queries in Trino's SQL (which Spark understands as well).

The tables have the columns that the queries use; values are random, and such that no query is empty for
want of matches. TPC Benchmark H, https://www.tpc.org/tpch/
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

FIRST_DAY, DAYS = date(1992, 1, 1), 2406
SEGMENTS = ["BUILDING", "AUTOMOBILE", "MACHINERY", "HOUSEHOLD", "FURNITURE"]
NATIONS = [
    "FRANCE",
    "GERMANY",
    "BRAZIL",
    "SAUDI ARABIA",
    "CANADA",
    "KENYA",
    "PERU",
    "CHINA",
    "INDIA",
    "JAPAN",
]
TYPES = ["ECONOMY ANODIZED STEEL", "PROMO BRUSHED BRASS", "MEDIUM POLISHED TIN"]
REGIONS = ["EUROPE", "AMERICA", "ASIA", "AFRICA", "MIDDLE EAST"]


def tables(seed: int = 7) -> dict[str, pa.Table]:
    """The eight tables."""
    rng = np.random.default_rng(seed)

    def pick(words: list[str], size: int) -> list[str]:
        return [words[index] for index in rng.integers(0, len(words), size)]

    def keys(size: int) -> pa.Array:
        return pa.array(range(1, size + 1), pa.int64())

    def some(high: int, size: int) -> pa.Array:
        return pa.array(rng.integers(1, high + 1, size), pa.int64())

    def money(low: int, high: int, size: int) -> pa.Array:
        return pa.array(
            [Decimal(int(cent)).scaleb(-2) for cent in rng.integers(low, high, size)], pa.decimal128(15, 2)
        )

    def days(size: int) -> list[date]:
        return [FIRST_DAY + timedelta(int(day)) for day in rng.integers(0, DAYS, size)]

    def later(days: list[date], least: int) -> list[date]:
        more = rng.integers(least, 30, len(days))
        return [day + timedelta(int(n)) for day, n in zip(days, more, strict=True)]

    suppliers, parts, customers, orders, items = 40, 200, 150, 1500, 6000
    nation_of = {"n_nationkey": keys(len(NATIONS)), "n_name": NATIONS, "n_regionkey": some(5, len(NATIONS))}
    shipped = days(items)
    part_supp: dict[str, Any] = {
        "ps_partkey": pa.array([part for part in range(1, parts + 1) for _ in range(4)], pa.int64()),
        "ps_suppkey": pa.array(
            [(part + 10 * step) % suppliers + 1 for part in range(1, parts + 1) for step in range(4)],
            pa.int64(),
        ),
        "ps_availqty": some(9999, parts * 4),
        "ps_supplycost": money(100, 100_000, parts * 4),
    }
    l_part = rng.integers(1, parts + 1, items)
    l_supp = (l_part + 10 * rng.integers(0, 4, items)) % suppliers + 1
    return {
        "region": pa.table({"r_regionkey": keys(5), "r_name": REGIONS}),
        "nation": pa.table(nation_of),
        "supplier": pa.table(
            {
                "s_suppkey": keys(suppliers),
                "s_name": [f"Supplier#{n:09d}" for n in range(1, suppliers + 1)],
                "s_address": [f"street {n}" for n in range(suppliers)],
                "s_nationkey": some(len(NATIONS), suppliers),
                "s_phone": [f"{n % 25 + 10}-000-{n}" for n in range(suppliers)],
                "s_acctbal": money(-99_999, 999_999, suppliers),
                "s_comment": pick(["fine", "Customer has Complaints", "quick"], suppliers),
            }
        ),
        "part": pa.table(
            {
                "p_partkey": keys(parts),
                "p_name": pick(["forest green", "blue sky", "dark green", "forest brown"], parts),
                "p_mfgr": pick(["Manufacturer#1", "Manufacturer#2"], parts),
                "p_brand": pick(["Brand#12", "Brand#23", "Brand#34", "Brand#45"], parts),
                "p_type": pick(TYPES, parts),
                "p_size": pa.array(rng.integers(1, 20, parts), pa.int32()),
                "p_container": pick(["SM CASE", "MED BOX", "LG BOX", "MED BAG"], parts),
            }
        ),
        "partsupp": pa.table(part_supp),
        "customer": pa.table(
            {
                "c_custkey": keys(customers),
                "c_name": [f"Customer#{n:09d}" for n in range(1, customers + 1)],
                "c_address": [f"road {n}" for n in range(customers)],
                "c_nationkey": some(len(NATIONS), customers),
                "c_phone": [f"{n % 25 + 10}-111-{n}" for n in range(customers)],
                "c_acctbal": money(-99_999, 999_999, customers),
                "c_mktsegment": pick(SEGMENTS, customers),
                "c_comment": pick(["none", "special"], customers),
            }
        ),
        "orders": pa.table(
            {
                "o_orderkey": keys(orders),
                "o_custkey": some(customers * 2 // 3, orders),
                "o_orderstatus": pick(["F", "O", "P"], orders),
                "o_totalprice": money(100_000, 50_000_000, orders),
                "o_orderdate": days(orders),
                "o_orderpriority": pick(["1-URGENT", "2-HIGH", "3-MEDIUM", "5-LOW"], orders),
                "o_shippriority": pa.array(rng.integers(0, 2, orders), pa.int32()),
                "o_comment": pick(["plain", "special packages and requests"], orders),
            }
        ),
        "lineitem": pa.table(
            {
                "l_orderkey": some(orders, items),
                "l_partkey": pa.array(l_part, pa.int64()),
                "l_suppkey": pa.array(l_supp, pa.int64()),
                "l_quantity": money(100, 5100, items),
                "l_extendedprice": money(100_000, 10_000_000, items),
                "l_discount": money(0, 11, items),
                "l_tax": money(0, 9, items),
                "l_returnflag": pick(["A", "N", "R"], items),
                "l_linestatus": pick(["F", "O"], items),
                "l_shipdate": shipped,
                "l_commitdate": later(shipped, -30),
                "l_receiptdate": later(shipped, 1),
                "l_shipmode": pick(["MAIL", "SHIP", "AIR", "AIR REG"], items),
                "l_shipinstruct": pick(["DELIVER IN PERSON", "NONE"], items),
            }
        ),
    }  # fmt: skip


REVENUE = "sum(l_extendedprice * (1 - l_discount))"
QUERIES = {
    "q01": """select l_returnflag, l_linestatus, sum(l_quantity) sum_qty, sum(l_extendedprice) base,
        sum(l_extendedprice * (1 - l_discount)) disc, sum(l_extendedprice * (1 - l_discount) * (1 +
        l_tax)) charge,
        avg(l_quantity) q, avg(l_extendedprice) p, avg(l_discount) d, count(*) n from lineitem
        where l_shipdate <= date '1998-12-01' - interval '90' day
        group by l_returnflag, l_linestatus order by l_returnflag, l_linestatus""",
    "q02": """select s_acctbal, s_name, n_name, p_partkey, p_mfgr from part, supplier, partsupp, nation,
        region
        where p_partkey = ps_partkey and s_suppkey = ps_suppkey and p_size < 15 and p_type like '%STEEL'
        and s_nationkey = n_nationkey and n_regionkey = r_regionkey and r_name = 'ASIA'
        and ps_supplycost = (select min(ps_supplycost) from partsupp, supplier, nation, region
          where p_partkey = ps_partkey and s_suppkey = ps_suppkey and s_nationkey = n_nationkey
          and n_regionkey = r_regionkey and r_name = 'ASIA')
        order by s_acctbal desc, n_name, s_name, p_partkey limit 100""",
    "q03": f"""select l_orderkey, {REVENUE} revenue, o_orderdate, o_shippriority from customer, orders,
        lineitem
        where c_mktsegment = 'BUILDING' and c_custkey = o_custkey and l_orderkey = o_orderkey
        and o_orderdate < date '1995-03-15' and l_shipdate > date '1995-03-15'
        group by l_orderkey, o_orderdate, o_shippriority order by revenue desc, o_orderdate limit 10""",
    "q04": """select o_orderpriority, count(*) n from orders where o_orderdate >= date '1993-07-01'
        and o_orderdate < date '1993-07-01' + interval '3' month and exists
        (select * from lineitem where l_orderkey = o_orderkey and l_commitdate < l_receiptdate)
        group by o_orderpriority order by o_orderpriority""",
    "q05": f"""select n_name, {REVENUE} revenue from customer, orders, lineitem, supplier, nation, region
        where c_custkey = o_custkey and l_orderkey = o_orderkey and l_suppkey = s_suppkey
        and c_nationkey = s_nationkey and s_nationkey = n_nationkey and n_regionkey = r_regionkey
        and r_name in ('ASIA', 'EUROPE', 'AMERICA') and o_orderdate >= date '1994-01-01'
        and o_orderdate < date '1994-01-01' + interval '1' year group by n_name order by revenue desc""",
    "q06": """select sum(l_extendedprice * l_discount) revenue from lineitem where l_shipdate >= date
        '1994-01-01'
        and l_shipdate < date '1994-01-01' + interval '1' year and l_discount between 0.06 - 0.01 and
        0.06 + 0.01
        and l_quantity < 24""",
    "q07": """select supp_nation, cust_nation, l_year, sum(volume) revenue from (select n1.n_name
        supp_nation,
        n2.n_name cust_nation, extract(year from l_shipdate) l_year, l_extendedprice * (1 - l_discount)
        volume
        from supplier, lineitem, orders, customer, nation n1, nation n2 where s_suppkey = l_suppkey
        and o_orderkey = l_orderkey and c_custkey = o_custkey and s_nationkey = n1.n_nationkey
        and c_nationkey = n2.n_nationkey and ((n1.n_name = 'FRANCE' and n2.n_name = 'GERMANY')
        or (n1.n_name = 'GERMANY' and n2.n_name = 'FRANCE'))
        and l_shipdate between date '1995-01-01' and date '1996-12-31') shipping
        group by supp_nation, cust_nation, l_year order by supp_nation, cust_nation, l_year""",
    "q08": """select o_year, sum(case when nation = 'BRAZIL' then volume else 0 end) / sum(volume) share
        from
        (select extract(year from o_orderdate) o_year, l_extendedprice * (1 - l_discount) volume,
        n2.n_name nation
        from part, supplier, lineitem, orders, customer, nation n1, nation n2, region where p_partkey =
        l_partkey
        and s_suppkey = l_suppkey and l_orderkey = o_orderkey and o_custkey = c_custkey
        and c_nationkey = n1.n_nationkey and n1.n_regionkey = r_regionkey and r_name <> 'AFRICA'
        and s_nationkey = n2.n_nationkey and o_orderdate between date '1995-01-01' and date '1996-12-31'
        and p_type = 'ECONOMY ANODIZED STEEL') all_nations group by o_year order by o_year""",
    "q09": """select nation, o_year, sum(amount) sum_profit from (select n_name nation,
        extract(year from o_orderdate) o_year,
        l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity amount
        from part, supplier, lineitem, partsupp, orders, nation where s_suppkey = l_suppkey
        and ps_suppkey = l_suppkey and ps_partkey = l_partkey and p_partkey = l_partkey and o_orderkey =
        l_orderkey
        and s_nationkey = n_nationkey and p_name like '%green%') profit
        group by nation, o_year order by nation, o_year desc""",
    "q10": f"""select c_custkey, c_name, {REVENUE} revenue, c_acctbal, n_name from customer, orders,
        lineitem, nation
        where c_custkey = o_custkey and l_orderkey = o_orderkey and o_orderdate >= date '1993-10-01'
        and o_orderdate < date '1993-10-01' + interval '3' month and l_returnflag = 'R'
        and c_nationkey = n_nationkey group by c_custkey, c_name, c_acctbal, n_name
        order by revenue desc, c_custkey limit 20""",
    "q11": """select ps_partkey, sum(ps_supplycost * ps_availqty) value from partsupp, supplier, nation
        where ps_suppkey = s_suppkey and s_nationkey = n_nationkey and n_name in ('GERMANY', 'PERU',
        'JAPAN')
        group by ps_partkey having sum(ps_supplycost * ps_availqty) > (select sum(ps_supplycost *
        ps_availqty) * 0.01
        from partsupp, supplier, nation where ps_suppkey = s_suppkey and s_nationkey = n_nationkey
        and n_name in ('GERMANY', 'PERU', 'JAPAN')) order by value desc, ps_partkey""",
    "q12": """select l_shipmode, sum(case when o_orderpriority in ('1-URGENT', '2-HIGH') then 1 else 0
        end) high,
        sum(case when o_orderpriority <> '1-URGENT' and o_orderpriority <> '2-HIGH' then 1 else 0 end) low
        from orders, lineitem where o_orderkey = l_orderkey and l_shipmode in ('MAIL', 'SHIP')
        and l_commitdate < l_receiptdate and l_shipdate < l_commitdate and l_receiptdate >= date
        '1994-01-01'
        and l_receiptdate < date '1994-01-01' + interval '1' year group by l_shipmode order by
        l_shipmode""",
    "q13": """select c_count, count(*) custdist from (select c_custkey, count(o_orderkey) c_count from
        customer
        left outer join orders on c_custkey = o_custkey and o_comment not like '%special%requests%'
        group by c_custkey) c_orders group by c_count order by custdist desc, c_count desc""",
    "q14": """select 100.00 * sum(case when p_type like 'PROMO%' then l_extendedprice * (1 - l_discount)
        else 0 end)
        / sum(l_extendedprice * (1 - l_discount)) promo from lineitem, part where l_partkey = p_partkey
        and l_shipdate >= date '1995-09-01' and l_shipdate < date '1995-09-01' + interval '1' month""",
    "q15": f"""with revenue as (select l_suppkey supplier_no, {REVENUE} total_revenue from lineitem
        where l_shipdate >= date '1996-01-01' and l_shipdate < date '1996-01-01' + interval '3' month
        group by l_suppkey) select s_suppkey, s_name, total_revenue from supplier, revenue
        where s_suppkey = supplier_no and total_revenue = (select max(total_revenue) from revenue)""",
    "q16": """select p_brand, p_type, p_size, count(distinct ps_suppkey) supplier_cnt from partsupp, part
        where p_partkey = ps_partkey and p_brand <> 'Brand#45' and p_type not like 'MEDIUM POLISHED%'
        and p_size in (1, 4, 9, 14, 19) and ps_suppkey not in
        (select s_suppkey from supplier where s_comment like '%Customer%Complaints%')
        group by p_brand, p_type, p_size order by supplier_cnt desc, p_brand, p_type, p_size""",
    "q17": """select sum(l_extendedprice) / 7.0 avg_yearly from lineitem, part where p_partkey = l_partkey
        and p_brand = 'Brand#23' and p_container = 'MED BOX' and l_quantity <
        (select 0.5 * avg(l_quantity) from lineitem where l_partkey = p_partkey)""",
    "q18": """select c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity) q from
        customer, orders,
        lineitem where o_orderkey in (select l_orderkey from lineitem group by l_orderkey
        having sum(l_quantity) > 200) and c_custkey = o_custkey and o_orderkey = l_orderkey
        group by c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice
        order by o_totalprice desc, o_orderdate limit 100""",
    "q19": f"""select {REVENUE} revenue from lineitem, part where p_partkey = l_partkey and (
        (p_brand = 'Brand#12' and p_container in ('SM CASE', 'MED BAG') and l_quantity between 1 and 31
         and p_size between 1 and 15) or
        (p_brand = 'Brand#23' and p_container in ('MED BAG', 'MED BOX') and l_quantity between 10 and 40
         and p_size between 1 and 20)) and l_shipmode in ('AIR', 'AIR REG')
        and l_shipinstruct = 'DELIVER IN PERSON'""",
    "q20": """select s_name, s_address from supplier, nation where s_suppkey in (select ps_suppkey from
        partsupp
        where ps_partkey in (select p_partkey from part where p_name like 'forest%') and ps_availqty >
        (select 0.5 * sum(l_quantity) from lineitem where l_partkey = ps_partkey and l_suppkey = ps_suppkey
         and l_shipdate >= date '1994-01-01' and l_shipdate < date '1994-01-01' + interval '1' year))
        and s_nationkey = n_nationkey and n_name <> 'CANADA' order by s_name""",
    "q21": """select s_name, count(*) numwait from supplier, lineitem l1, orders, nation where s_suppkey
        = l1.l_suppkey
        and o_orderkey = l1.l_orderkey and o_orderstatus = 'F' and l1.l_receiptdate > l1.l_commitdate
        and exists (select * from lineitem l2 where l2.l_orderkey = l1.l_orderkey and l2.l_suppkey <>
        l1.l_suppkey)
        and not exists (select * from lineitem l3 where l3.l_orderkey = l1.l_orderkey
        and l3.l_suppkey <> l1.l_suppkey and l3.l_receiptdate > l3.l_commitdate)
        and s_nationkey = n_nationkey and n_name in ('SAUDI ARABIA', 'KENYA', 'INDIA')
        group by s_name order by numwait desc, s_name limit 100""",
    "q22": """select cntrycode, count(*) numcust, sum(c_acctbal) totacctbal from (select
        substring(c_phone, 1, 2) cntrycode,
        c_acctbal from customer where substring(c_phone, 1, 2) in ('13', '31', '23', '29', '30', '18', '17')
        and c_acctbal > (select avg(c_acctbal) from customer where c_acctbal > 0.00
        and substring(c_phone, 1, 2) in ('13', '31', '23', '29', '30', '18', '17'))
        and not exists (select * from orders where o_custkey = c_custkey)) custsale
        group by cntrycode order by cntrycode""",
}
