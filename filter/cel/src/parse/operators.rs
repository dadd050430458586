//! From the conditional down to the signs: what binds least is read first.

use super::{MOST_DEPTH, Parsed, Parser, Part, Refused, tokens::Kind as Word};

/// Operators with two sides, from those that bind least, with the names of their functions.
const BINARY: [&[(&str, &str)]; 5] = [
    &[("||", "_||_")],
    &[("&&", "_&&_")],
    &[
        ("<", "_<_"),
        ("<=", "_<=_"),
        (">=", "_>=_"),
        (">", "_>_"),
        ("==", "_==_"),
        ("!=", "_!=_"),
        ("in", "@in"),
    ],
    &[("+", "_+_"), ("-", "_-_")],
    &[("*", "_*_"), ("/", "_/_"), ("%", "_%_")],
];
/// Those that bind less than this are chains, of which the parser makes a low tree; the others go from left to right.
const FIRST_NO_CHAIN: usize = 2;

/// Operators that bind alike, whose last right side is not read yet.
struct Open {
    binds: usize,
    function: &'static str,
    /// Where the operators stand.
    operators: Vec<usize>,
    /// What stands before each of them.
    terms: Vec<Part>,
}

impl Parser<'_> {
    /// `condition ? this : that`, or what stands for one.
    pub(super) fn expression(&mut self) -> Parsed<Part> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            let text = format!("expression recursion limit exceeded: {MOST_DEPTH}");
            return Err(self.refuse(self.next.at, text));
        }
        let mut part = self.operation()?;
        if let Some(at) = self.accept("?")? {
            let this = self.operation()?;
            self.expect(":")?;
            let that = self.expression()?;
            part = self.call(at, "_?_:_", None, vec![part, this, that])?;
        }
        self.depth -= 1;
        Ok(part)
    }

    /// Operators with two sides and what they stand between. All levels of binding are read in one call, which is all that an
    /// expression inside another takes of the stack here.
    fn operation(&mut self) -> Parsed<Part> {
        let mut open: Vec<Open> = Vec::new();
        let mut part = self.unary()?;
        while let Some((binds, function)) = self.operator() {
            let is_chain = binds < FIRST_NO_CHAIN;
            while let Some(last) =
                open.pop_if(|last| last.binds > binds || (last.binds == binds && !is_chain))
            {
                part = self.close(last, part)?;
            }
            let at = self.next.at;
            match open.last_mut().filter(|last| last.binds == binds) {
                Some(last) => {
                    last.operators.push(at);
                    last.terms.push(part);
                }
                None => {
                    open.push(Open { binds, function, operators: vec![at], terms: vec![part] });
                }
            }
            self.advance()?;
            part = self.unary()?;
        }
        while let Some(last) = open.pop() {
            part = self.close(last, part)?;
        }
        Ok(part)
    }

    /// The operator that is next: how it binds, and its function.
    fn operator(&self) -> Option<(usize, &'static str)> {
        BINARY.iter().enumerate().find_map(|(binds, operators)| {
            let found = operators.iter().find(|(symbol, _)| self.next.is(symbol));
            found.map(|(_, function)| (binds, *function))
        })
    }

    fn close(&mut self, mut open: Open, last: Part) -> Parsed<Part> {
        open.terms.push(last);
        self.balanced(open.function, &open.operators, &mut open.terms.into_iter())
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
