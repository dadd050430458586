//! From the conditional down to the signs: what binds least is read first.

use super::{MOST_DEPTH, Parsed, Parser, Part, Refused, tokens::Kind as Word};

const RELATIONS: [(&str, &str); 7] = [
    ("<", "_<_"),
    ("<=", "_<=_"),
    (">=", "_>=_"),
    (">", "_>_"),
    ("==", "_==_"),
    ("!=", "_!=_"),
    ("in", "@in"),
];
const SUMS: [(&str, &str); 2] = [("+", "_+_"), ("-", "_-_")];
const PRODUCTS: [(&str, &str); 3] = [("*", "_*_"), ("/", "_/_"), ("%", "_%_")];

/// Operators with two sides, from those that bind least.
const BINARY: [&[(&str, &str)]; 3] = [&RELATIONS, &SUMS, &PRODUCTS];

impl Parser<'_> {
    /// `condition ? this : that`, or what stands for one.
    pub(super) fn expression(&mut self) -> Parsed<Part> {
        self.depth += 1;
        // The whole is not inside anything.
        if self.depth > MOST_DEPTH + 1 {
            let text = format!("expression recursion limit exceeded: {MOST_DEPTH}");
            return Err(self.refuse(self.next.at, text));
        }
        let mut part = self.disjunction()?;
        if let Some(at) = self.accept("?")? {
            let this = self.disjunction()?;
            self.expect(":")?;
            let that = self.expression()?;
            part = self.call(at, "_?_:_", None, vec![part, this, that])?;
        }
        self.depth -= 1;
        Ok(part)
    }

    fn disjunction(&mut self) -> Parsed<Part> {
        self.chain("||", "_||_", Self::conjunction)
    }

    fn conjunction(&mut self) -> Parsed<Part> {
        self.chain("&&", "_&&_", |parser| parser.binary(&BINARY))
    }

    fn chain(
        &mut self,
        operator: &str,
        function: &str,
        mut term: impl FnMut(&mut Self) -> Parsed<Part>,
    ) -> Parsed<Part> {
        let mut terms = vec![term(self)?];
        let mut operators = Vec::new();
        while let Some(at) = self.accept(operator)? {
            operators.push(at);
            terms.push(term(self)?);
        }
        self.balanced(function, &operators, &mut terms.into_iter())
    }

    /// A chain as a tree that is as low as it can be: the operator in the middle is the root.
    fn balanced(
        &mut self,
        function: &str,
        operators: &[usize],
        terms: &mut impl Iterator<Item = Part>,
    ) -> Parsed<Part> {
        let (left, right) = operators.split_at(operators.len() / 2);
        let Some((&at, right)) = right.split_first() else {
            return terms.next().ok_or(Refused);
        };
        let left = self.balanced(function, left, terms)?;
        let right = self.balanced(function, right, terms)?;
        self.call(at, function, None, vec![left, right])
    }

    fn binary(&mut self, levels: &[&[(&str, &str)]]) -> Parsed<Part> {
        let Some((operators, tighter)) = levels.split_first() else { return self.unary() };
        let mut left = self.binary(tighter)?;
        loop {
            let token = self.next;
            let Some((_, function)) = operators.iter().find(|(symbol, _)| token.is(symbol)) else {
                return Ok(left);
            };
            self.advance()?;
            let right = self.binary(tighter)?;
            left = self.call(token.at, *function, None, vec![left, right])?;
        }
    }

    /// Signs of one kind, an even number of which is none.
    fn unary(&mut self) -> Parsed<Part> {
        let first = self.next;
        let (symbol, function) = match first {
            token if token.is("!") => ("!", "!_"),
            token if token.is("-") => ("-", "-_"),
            _ => return self.member(None),
        };
        self.advance()?;
        if symbol == "-" && matches!(self.next.kind, Word::Int | Word::Double) {
            return self.member(Some(first.at));
        }
        let mut signs = 1;
        while self.accept(symbol)?.is_some() {
            signs += 1;
        }
        // Behind `!` stands a number with its sign, behind `-` none.
        let mut sign = None;
        if symbol == "!" && self.next.is("-") {
            let at = self.next.at;
            self.advance()?;
            if !matches!(self.next.kind, Word::Int | Word::Double) {
                return Err(self.unexpected("a number"));
            }
            sign = Some(at);
        }
        let operand = self.member(sign)?;
        if signs % 2 == 0 {
            Ok(operand)
        } else {
            self.call(first.at, function, None, vec![operand])
        }
    }
}
