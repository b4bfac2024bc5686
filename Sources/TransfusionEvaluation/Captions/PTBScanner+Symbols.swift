/// Addresses, numbers, and everything without letters.
extension PTBScanner {
    // MARK: - Addresses

    mutating func applyAddressRules() {
        if let end = tag(place) { offer(end) }
        offer(webAddress(place))
        if isASCIIAlphanumeric(place) { offerMailAddress() }
        if at(place) == 0x40, isASCIILetter(place + 1) || at(place + 1) == 0x5F {
            offer(run(from: place + 1) { PTBCharacter.isASCIILetter($0) || (0x30...0x39).contains($0) || $0 == 0x5F })
        }
        if at(place) == 0x23, PTBCharacter.isLetter(at(place + 1)) {
            offer(run(from: place + 1, while: PTBCharacter.isLetter))
        }
        for language in ["c++", "c#", "f#"] as [StaticString] { offer(end(of: language, at: place)) }
    }

    private func isURLCharacter(_ value: UInt32) -> Bool {
        !PTBCharacter.isOne(of: " \t\n\u{C}\r\"<>|()", value) && value != 0
    }

    /// The end of an address, without what belongs to the sentence around it.
    private func trimmedURL(_ start: Int) -> Int? {
        var end = run(from: start, while: isURLCharacter)
        while end > start, isOne(of: ".!?(){},-", end - 1) { end -= 1 }
        return end - start >= 2 ? end : nil
    }

    private func webAddress(_ start: Int) -> Int? {
        for scheme in ["http://", "https://"] as [StaticString] {
            if let host = end(of: scheme, at: start) { return trimmedURL(host) }
        }
        guard isASCIILetter(start) else { return nil }
        var end = start, domain: Int?
        while true {
            end = run(from: end) { PTBCharacter.isASCIILetter($0) || $0 >= 0x80 && PTBCharacter.isLetter($0) }
            guard at(end) == 0x2E, isASCIILetter(end + 1) else { break }
            for name in ["com", "net", "org", "edu"] as [StaticString] {
                if let found = self.end(of: name, at: end + 1) { domain = found }
            }
            end += 1
        }
        guard let domain else { return nil }
        return at(domain) == 0x2F ? trimmedURL(domain + 1) ?? domain : domain
    }

    private mutating func offerMailAddress() {
        let name = run(from: place) { isURLCharacter($0) && $0 != 0xA0 && $0 != 0x40 }
        guard at(name) == 0x40 else { return }
        var end = run(from: name + 1) { isURLCharacter($0) && $0 != 0xA0 }
        while end > name + 1, at(end - 1) == 0x2E { end -= 1 }
        if end > name + 1 { offer(end) }
    }

    /// Where an element's tag or a declaration ends: `<br />`.
    private func tag(_ start: Int) -> Int? {
        guard at(start) == 0x3C else { return nil }
        if isOne(of: "!?", start + 1), isASCIILetter(start + 2) || at(start + 2) == 0x2D {
            let end = run(from: start + 2) { $0 != 0x3E && $0 != PTBCharacter.newline }
            return at(end) == 0x3E ? end + 1 : nil
        }
        func name(_ start: Int) -> Int? {
            guard isASCIILetter(start) else { return nil }
            return run(from: start) {
                PTBCharacter.isASCIILetter($0) || (0x30...0x39).contains($0) || PTBCharacter.isOne(of: "_:.-", $0)
            }
        }
        func spaces(_ start: Int) -> Int { run(from: start) { $0 == 0x20 } }
        let isClosing = at(start + 1) == 0x2F
        guard var end = name(isClosing ? start + 2 : start + 1) else { return nil }
        while !isClosing, at(end) == 0x20, let attribute = name(spaces(end)) {
            end = attribute
            guard at(spaces(end)) == 0x3D else { continue }
            let quote = spaces(spaces(end) + 1)
            guard isOne(of: "'\"", quote) else { return nil }
            let close = run(from: quote + 1) { $0 != at(quote) && $0 != PTBCharacter.newline }
            guard at(close) == at(quote) else { return nil }
            end = close + 1
        }
        end = spaces(end)
        if !isClosing, at(end) == 0x2F { end = spaces(end + 1) }
        return at(end) == 0x3E ? end + 1 : nil
    }

    // MARK: - Numbers

    mutating func applyNumberRules() {
        offerDate()
        offerNumber()
        offerFraction()
        offerTelephone()
        if let raised = superscripts(place) { offer(raised) }
        if let fraction = Self.fractions[at(place)] { offer(place + 1, as: fraction) }
        if let letters = apostrophe(place), isDigit(letters), isDigit(letters + 1), isSpace(letters + 2) {
            offer(letters + 2, seen: letters + 3)
        }
    }

    private static let fractions: [UInt32: String] = [
        0xBC: "1/4", 0xBD: "1/2", 0xBE: "3/4", 0x2153: "1/3", 0x2154: "2/3",
    ]

    private func digits(_ start: Int, _ counts: ClosedRange<Int>) -> Int? {
        let end = run(from: start, limit: counts.upperBound, while: PTBCharacter.isDigit)
        return end - start >= counts.lowerBound ? end : nil
    }

    private mutating func offerDate() {
        guard let month = digits(place, 1...2), isOne(of: "-/", month), let day = digits(month + 1, 1...2),
            isOne(of: "-/", day), let year = digits(day + 1, 2...4)
        else { return }
        offer(year)
    }

    private mutating func offerNumber() {
        let start = isOne(of: "+-", place) ? place + 1 : place
        var end = run(from: start, while: PTBCharacter.isDigit)
        let startsWithDigit = end > start
        // A colon only between digits, as in times; a full stop or comma may also begin a number.
        while isOne(of: ".,", end) || [0x66B, 0x66C].contains(at(end)) || startsWithDigit && isOne(of: ":", end),
            isDigit(end + 1)
        {
            end = run(from: end + 1, while: PTBCharacter.isDigit)
        }
        if !startsWithDigit, end == start, at(start) == 0x3A, isDigit(start + 1) {
            end = run(from: start + 1, while: PTBCharacter.isDigit)
        }
        if end > start { offer(end) }
    }

    private mutating func offerFraction() {
        func fraction(_ start: Int) -> Int? {
            guard let above = digits(start, 1...4) else { return nil }
            let slash = at(above) == 0x5C ? above + 1 : above
            guard at(slash) == 0x2F || slash == above && at(slash) == 0x2044 else { return nil }
            return digits(slash + 1, 1...4)
        }
        offer(fraction(place))
        if let whole = digits(place, 1...4), at(whole) == 0x20 || at(whole) == 0xA0 || at(whole) == 0x2D {
            offer(fraction(whole + 1))
        }
    }

    private mutating func offerTelephone() {
        func isGap(_ index: Int) -> Bool { isOne(of: "- ", index) || at(index) == 0xA0 }
        func last(_ start: Int) -> Int? {
            // The longest of the ways to cut the digits.
            [4, 3].compactMap { count -> Int? in
                guard let middle = digits(start, count...count) else { return nil }
                return digits(isGap(middle) ? middle + 1 : middle, 3...5)
            }.max()
        }
        if at(place) == 0x28, let area = digits(place + 1, 2...3), at(area) == 0x29 {
            let start = at(area + 1) == 0x20 || at(area + 1) == 0xA0 ? area + 2 : area + 1
            if let end = last(start) { offer(end, as: bracketed(place..<end)) }
            return
        }
        let start = run(from: place, limit: 2) { $0 == 0x2B }
        guard let area = digits(start, 2...4), isGap(area) else { return }
        offer(last(area + 1))
        if let second = digits(area + 1, 2...4), isGap(second) { offer(last(second + 1)) }
    }

    private func superscripts(_ start: Int) -> Int? {
        let first = [0x207A, 0x207B, 0x208A, 0x208B].contains(at(start)) ? start + 1 : start
        let raised = run(from: first) { [0xB9, 0xB2, 0xB3, 0x2070].contains($0) || (0x2074...0x2079).contains($0) }
        let lowered = run(from: first) { (0x2080...0x2089).contains($0) }
        let end = max(raised, lowered)
        return end > first ? end : nil
    }

    // MARK: - Symbols

    private static let treebank: [StaticString] = [
        "-RRB-", "-LRB-", "-RCB-", "-LCB-", "-RSB-", "-LSB-", "C.D.s", "pro-", "anti-", "S&P-500", "S&Ls", "Cap'n",
        "c'est",
    ]
    private static let entities: [(StaticString, String?)] = [
        ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "''"), ("&md;", "--"), ("&mdash;", "--"),
        ("&ndash;", "--"),
    ]
    private static let brackets: [UInt32: String] = [
        0x28: "-lrb-", 0x29: "-rrb-", 0x5B: "-lsb-", 0x5D: "-rsb-", 0x7B: "-lcb-", 0x7D: "-rcb-",
    ]
    private static let replaced: [UInt32: String] = [
        0x80: "$", 0xA4: "$", 0x20A0: "$", 0x20AC: "$", 0xA2: "cents", 0xA3: "#", 0x96: "--", 0x97: "--",
        0x2013: "--", 0x2014: "--", 0x2015: "--", 0x2026: "...",
    ]

    mutating func applySymbolRules() {
        for literal in Self.treebank { offer(end(of: literal, at: place)) }
        if at(place) == 0x26 { offerEntities() }
        let currency = run(from: place, while: PTBCharacter.isUpper)
        if at(currency) == 0x24 { offer(currency + 1) }
        offerSmileys()
        if let name = Self.brackets[at(place)] { offer(place + 1, as: name) }
        if let name = Self.replaced[at(place)] { offer(place + 1, as: name) }
        offerRuns()
        for pair in ["<<", ">>"] as [StaticString] { offer(end(of: pair, at: place)) }
        if PTBSymbols.contains(at(place)) { offer(place + 1) }
    }

    private mutating func offerEntities() {
        for (literal, name) in Self.entities { if let end = end(of: literal, at: place) { offer(end, as: name) } }
        // A space.
        if let end = end(of: "&nbsp;", at: place) { offer(end, as: "") }
        let number = run(from: place + 2) { (0x30...0x39).contains($0) }
        if at(place + 1) == 0x23, number > place + 2, at(number) == 0x3B { offer(number + 1) }
    }

    /// The same sign several times.
    private mutating func offerRuns() {
        let sign = at(place)
        let end = run(from: place) { $0 == sign }
        switch sign {
        case 0x2D: offer(end, as: (3...4).contains(end - place) ? "--" : nil)
        case 0x2E:
            let dots = min(end - place, 5)
            if dots >= 3 { offer(place + dots, as: "...") }
            var spaced = place, count = 1
            while count < 5, at(spaced) == 0x2E, at(spaced + 1) == 0x20 || at(spaced + 1) == 0xA0,
                at(spaced + 2) == 0x2E
            {
                spaced += 2
                count += 1
            }
            if count >= 3 { offer(spaced + 1, as: "...") }
        case 0x21, 0x3F: offer(run(from: place) { $0 == 0x21 || $0 == 0x3F })
        case 0x40, 0x23, 0x5F, 0x2A: offer(end)
        default: break
        }
    }

    private func bracketed(_ range: Range<Int>) -> String {
        text[range].indices.map { Self.brackets[text[$0]] ?? string($0..<$0 + 1) }.joined()
    }

    private mutating func offerSmileys() {
        var eyes = place
        if isOne(of: "<>", eyes) { eyes += 1 }
        if isOne(of: ":;=", eyes) {
            let nose = isOne(of: "-o*'", eyes + 1) ? eyes + 2 : eyes + 1
            for mouth in [eyes + 1, nose]
            where isOne(of: "()DPdpO\\{@|[]", mouth) && !isASCIIAlphanumeric(mouth + 1) {
                offer(mouth + 1, seen: mouth + 2, as: roundBracketed(place..<mouth + 1))
            }
        }
        func isEye(_ index: Int) -> Bool { isOne(of: "^x=~<>'-", index) }
        if isEye(place), at(place + 1) == 0x5F, isEye(place + 2) { offer(place + 3) }
        if at(place) == 0x28, isEye(place + 1) {
            let mouth = isOne(of: "_.-", place + 2) ? place + 3 : place + 2
            if isEye(mouth), at(mouth + 1) == 0x29 { offer(mouth + 2, as: roundBracketed(place..<mouth + 2)) }
        }
    }

    private func roundBracketed(_ range: Range<Int>) -> String {
        range.map { at($0) == 0x28 ? "-lrb-" : at($0) == 0x29 ? "-rrb-" : string($0..<$0 + 1) }.joined()
    }

    // MARK: - Quotation marks

    private static let marks: [UInt32: String] = [
        0x27: "'", 0x60: "`", 0x91: "`", 0x92: "'", 0x93: "``", 0x94: "''", 0xAB: "``", 0xBB: "''", 0x2018: "`",
        0x2019: "'", 0x201A: "\u{201A}", 0x201B: "`", 0x201C: "``", 0x201D: "''", 0x201E: "\u{201E}",
        0x201F: "\u{201F}", 0x2039: "`", 0x203A: "'",
    ]

    mutating func applyQuoteRules() {
        if at(place) == 0x22 { offer(place + 1, as: "''") }
        if at(place) == 0x27, isASCIILetter(place + 1), !isSpace(place + 2) {
            offer(place + 1, seen: place + 3, as: "`")
        }
        guard let first = Self.marks[at(place)] else { return }
        if let second = Self.marks[at(place + 1)], at(place) != 0x27 || at(place + 1) == 0x27 {
            offer(place + 2, as: first + second)
        }
        offer(place + 1, as: first)
    }
}

/// Characters that are tokens of their own.
private enum PTBSymbols {
    static func contains(_ value: UInt32) -> Bool {
        if value < 0x80 { return PTBCharacter.isOne(of: "$%&+,./:;<=>\\^|~", value) }
        return value < 0x10000 && ranges.contains { $0.contains(value) }
    }

    private static let ranges: [ClosedRange<UInt32>] = [
        0xA1...0xA1, 0xA5...0xA9, 0xAC...0xAC, 0xAE...0xB4, 0xB6...0xB9, 0xBF...0xBF, 0xD7...0xD7, 0xF7...0xF7,
        0x37E...0x37E, 0x387...0x387, 0x589...0x589, 0x5BE...0x5BE, 0x5C0...0x5C0, 0x5C3...0x5C3, 0x5C6...0x5C6,
        0x5F3...0x5F4, 0x600...0x603, 0x606...0x60C, 0x614...0x614, 0x61B...0x61B, 0x61E...0x61F, 0x66A...0x66A,
        0x66D...0x66D, 0x6D4...0x6D4, 0x700...0x70D, 0x7F6...0x7F8, 0x964...0x965, 0xE3F...0xE3F, 0xE4F...0xE4F,
        0x1FBD...0x1FBD, 0x2016...0x2017, 0x201A...0x201A, 0x201E...0x2023, 0x2030...0x2038, 0x203B...0x203B,
        0x203E...0x2042, 0x2044...0x2044, 0x2070...0x2070, 0x2074...0x207E, 0x2080...0x208E, 0x20A4...0x20A4,
        0x2100...0x214F, 0x2155...0x215E, 0x2190...0x2BFF, 0x3001...0x3002, 0x3012...0x3012, 0x30FB...0x30FB,
        0xFF01...0xFF0F, 0xFF1A...0xFF20, 0xFF3B...0xFF40, 0xFF5B...0xFF65, 0xFFE0...0xFFE1, 0xFFE5...0xFFE6,
    ]
}
