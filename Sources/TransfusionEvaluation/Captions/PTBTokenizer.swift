/// Captions as words, as papers on picture descriptions cut them: Penn Treebank tokens in lower case, without punctuation.
///
/// The rules are those that Stanford's PTBTokenizer 3.4.1 follows with `-preserveLines -lowerCase`, which pycocoevalcap
/// calls; Tests/Fixtures/captions.py compares the two. Its peculiarities are part of it: brackets stay as `-lrb-`,
/// since only their names in capitals are on the list of punctuation, British spelling stays, and a space inside a fraction
/// or a telephone number becomes U+00A0.
enum PTBTokenizer {
    /// What is no word: pycocoevalcap's list.
    private static let punctuation: Set = [
        "''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";",
    ]

    /// The words of a caption.
    static func words(_ caption: String) -> [String] {
        tokens(caption).filter { !punctuation.contains($0) }
    }

    /// All tokens of a caption in lower case, punctuation too.
    static func tokens(_ caption: String) -> [String] {
        var scanner = PTBScanner(caption)
        var tokens: [String] = []
        while let token = scanner.next() { tokens.append(token) }
        return tokens
    }
}

/// Cuts a line into tokens: at each place the longest that some rule finds, of equal ones that of the first rule. What
/// must follow a token counts for its length here.
struct PTBScanner {
    let text: [UInt32]
    var place = 0
    private var best = Candidate()

    private struct Candidate {
        /// With what must follow.
        var length = 0
        var tokenLength = 0
        /// Stands in place of the text.
        var replacement: String?
    }

    init(_ line: String) {
        // The end of the line is a space, as for rules that want one to follow.
        text = line.unicodeScalars.map { $0 == "\n" ? 0x20 : $0.value } + [PTBCharacter.newline]
    }

    /// The next token in lower case, nil at the end.
    mutating func next() -> String? {
        while place < text.count {
            best = Candidate()
            if !PTBCharacter.isSpace(text[place]) { applyRules() }
            defer { place += max(best.tokenLength, 1) }
            // Spaces, and what no rule knows, only separate.
            guard best.length > 0 else { continue }
            let token = (best.replacement ?? string(place..<place + best.tokenLength)).lowercased()
            if !token.isEmpty { return token }
        }
        return nil
    }

    private mutating func applyRules() {
        applyWordRules()
        applyContractionRules()
        applyAddressRules()
        applyNumberRules()
        applyAbbreviationRules()
        applySymbolRules()
        applyThingRules()
        applyQuoteRules()
    }

    /// Takes part in the choice.
    /// - Parameters:
    ///   - end: Where the token ends; nil where the rule does not hold.
    ///   - seen: Where that ends which must follow.
    mutating func offer(_ end: Int?, seen: Int? = nil, as replacement: String? = nil) {
        guard let end, end <= text.count else { return }
        let length = max(end, seen ?? end) - place
        guard length > best.length else { return }
        best = Candidate(length: length, tokenLength: end - place, replacement: replacement)
    }

    /// Soft hyphens go, and spaces that a token holds do not separate any more.
    func string(_ range: Range<Int>) -> String {
        var result = String.UnicodeScalarView()
        for value in text[range] where value != 0xAD {
            result.append(Unicode.Scalar(value == 0x20 ? 0xA0 : value) ?? " ")
        }
        return String(result)
    }

    // MARK: - Looking at the text

    func at(_ index: Int) -> UInt32 { index < text.count ? text[index] : 0 }
    func lower(_ index: Int) -> UInt32 { PTBCharacter.lower(at(index)) }
    func isOne(of characters: StaticString, _ index: Int) -> Bool { PTBCharacter.isOne(of: characters, at(index)) }
    func isDigit(_ index: Int) -> Bool { PTBCharacter.isDigit(at(index)) }
    func isASCIILetter(_ index: Int) -> Bool { PTBCharacter.isASCIILetter(at(index)) }
    func isASCIIAlphanumeric(_ index: Int) -> Bool { isASCIILetter(index) || (0x30...0x39).contains(at(index)) }
    func isSpace(_ index: Int) -> Bool { PTBCharacter.isSpace(at(index)) }

    /// Where a text ends that stands at a place, in any case; nil when it does not.
    func end(of literal: StaticString, at start: Int) -> Int? {
        literal.withUTF8Buffer { bytes in
            for (offset, byte) in bytes.enumerated() where lower(start + offset) != PTBCharacter.lower(UInt32(byte)) {
                return nil
            }
            return start + bytes.count
        }
    }

    /// Where a run of at most `limit` characters ends.
    func run(from start: Int, limit: Int = .max, while belongs: (UInt32) -> Bool) -> Int {
        var end = start
        while end < text.count, end - start < limit, belongs(text[end]) { end += 1 }
        return end
    }
}

/// Kinds of characters.
enum PTBCharacter {
    static let newline: UInt32 = 0x0A

    static func isASCIILetter(_ value: UInt32) -> Bool { (0x61...0x7A).contains(value | 0x20) }
    static func isUpper(_ value: UInt32) -> Bool { (0x41...0x5A).contains(value) }

    static func lower(_ value: UInt32) -> UInt32 { isUpper(value) ? value + 32 : value }

    static func isSpace(_ value: UInt32) -> Bool {
        switch value {
        case 0x20, 0x09...0x0D, 0x85, 0xA0, 0x2000...0x200A, 0x2028, 0x2029, 0x3000: true
        default: false
        }
    }

    static func isDigit(_ value: UInt32) -> Bool {
        if value < 0x80 { return (0x30...0x39).contains(value) }
        return value < 0x10000 && category(value) == .decimalNumber
    }

    /// Letters, marks that belong to them, and the soft hyphen; none outside the basic plane.
    static func isLetter(_ value: UInt32) -> Bool {
        if value < 0x80 { return isASCIILetter(value) }
        switch category(value) {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return value < 0x10000
        case .nonspacingMark, .spacingMark, .enclosingMark, .modifierSymbol: return (0x2C2..<0xF00).contains(value)
        default: return value == 0xAD
        }
    }

    static func isAlphanumeric(_ value: UInt32) -> Bool { isLetter(value) && value != 0xAD || isDigit(value) }

    static func isOne(of characters: StaticString, _ value: UInt32) -> Bool {
        value < 0x80 && characters.withUTF8Buffer { $0.contains(UInt8(value)) }
    }

    private static func category(_ value: UInt32) -> Unicode.GeneralCategory {
        Unicode.Scalar(value)?.properties.generalCategory ?? .unassigned
    }
}
