/// Words, what apostrophes do to them, and abbreviations.
extension PTBScanner {
    // MARK: - Apostrophes

    /// Where an apostrophe ends.
    func apostrophe(_ start: Int) -> Int? {
        switch at(start) {
        case 0x27, 0x92, 0x2019: start + 1
        case 0x26: end(of: "&apos;", at: start)
        default: nil
        }
    }

    /// Also quotation marks that people take for one.
    private func apostropheOrQuote(_ start: Int) -> Int? {
        [0x91, 0x2018, 0x201B].contains(at(start)) ? start + 1 : apostrophe(start)
    }

    /// Where `'s`, `'re` and the like end.
    private func shortVerb(_ start: Int) -> Int? {
        guard let letters = apostrophe(start) else { return nil }
        for verb in ["re", "ve", "ll"] as [StaticString] {
            if let end = end(of: verb, at: letters) { return end }
        }
        return isOne(of: "msdMSD", letters) ? letters + 1 : nil
    }

    private func plainApostrophe(_ range: Range<Int>) -> String {
        "'" + string((apostrophe(range.lowerBound) ?? range.lowerBound)..<range.upperBound)
    }

    // MARK: - Words

    /// Where a letter ends; some are written as `&eacute;`.
    private func letter(_ start: Int) -> Int? {
        if PTBCharacter.isLetter(at(start)) { return start + 1 }
        guard at(start) == 0x26, isOne(of: "aeiouAEIOU", start + 1) else { return nil }
        for accent in ["acute;", "grave;", "uml;"] as [StaticString] {
            if let end = end(of: accent, at: start + 2) { return end }
        }
        return nil
    }

    private func letters(_ start: Int) -> Int {
        var end = start
        while let next = letter(end) { end = next }
        return end
    }

    /// Where a word ends: letters and digits after a letter, and more of them after a full stop.
    private func word(_ start: Int) -> Int? {
        guard var end = letter(start) else { return nil }
        while true {
            if let next = letter(end) ?? (isDigit(end) ? end + 1 : nil) {
                end = next
            } else if isOne(of: ".!?", end), let next = letter(end + 1) {
                end = next
            } else {
                return end
            }
        }
    }

    private static let joined: [StaticString] = ["'tis", "gonna", "gotta", "lemme", "gimme", "wanna"]

    mutating func applyWordRules() {
        // These are two words each.
        for literal in ["cannot", "'twas"] as [StaticString] {
            if let end = end(of: literal, at: place) { offer(end - 3, seen: end) }
        }
        for literal in Self.joined {
            if let end = end(of: literal, at: place) { offer(end - 2, seen: end) }
        }
        guard let word = word(place) else { return }
        if let verb = shortVerb(word) { offer(word, seen: verb) }
        offerNegatedVerb()
        offer(word)
        if at(word) == 0x2E, isOne(of: ",;:", word + 1) { offer(word + 1, seen: word + 2) }
    }

    /// `do` of `don't`.
    private mutating func offerNegatedVerb() {
        let end = run(from: place) { PTBCharacter.isASCIILetter($0) || $0 == 0xAD }
        guard end - place >= 2, lower(end - 1) == 0x6E, isASCIILetter(end - 2), lower(end - 2) != 0x6E,
            let letters = apostropheOrQuote(end), lower(letters) == 0x74
        else { return }
        offer(end - 1, seen: letters + 1)
    }

    // MARK: - Contractions

    private static let withApostrophe: [StaticString] = [
        "cont'd.", "cont'd", "nor'easter", "c'mon", "e'er", "s'mores", "ev'ry", "li'l", "nat'l",
    ]
    /// Of these the apostrophe may be a round one.
    private static let beforeApostrophe: [StaticString] = ["dunkin", "somethin", "ol", "l", "d", "j"]
    private static let afterApostrophe: [StaticString] = ["em", "till", "til", "cause", "n"]

    mutating func applyContractionRules() {
        if let letters = apostrophe(place) {
            for literal in Self.afterApostrophe { offer(end(of: literal, at: letters)) }
            // 'n' with both.
            if lower(letters) == 0x6E { offer(apostrophe(letters + 1)) }
            if isOne(of: "23456789", letters), at(letters + 1) == 0x30, lower(letters + 2) == 0x73 {
                offer(letters + 3)
            }
            if let verb = shortVerb(place), !isASCIILetter(verb) {
                offer(verb, seen: verb + 1, as: plainApostrophe(place..<verb))
            }
            return
        }
        guard PTBCharacter.isLetter(at(place)) else { return }
        for literal in Self.beforeApostrophe { if let end = end(of: literal, at: place) { offer(apostrophe(end)) } }
        for literal in Self.withApostrophe { offer(end(of: literal, at: place)) }
        offerForeignName()
        if lower(place) == 0x79, let end = apostrophe(place + 1), PTBCharacter.isLetter(at(end)) {
            offer(end, seen: end + 1)
        }
        if lower(place) == 0x6E, let letters = apostropheOrQuote(place + 1), lower(letters) == 0x74,
            !isASCIILetter(letters + 1)
        {
            offer(letters + 1, seen: letters + 2, as: string(place..<place + 1) + "'" + string(letters..<letters + 1))
        }
    }

    /// Words that go on behind an apostrophe, as O'Neil or Hawai'i.
    private mutating func offerForeignName() {
        let start = letters(place)
        guard let rest = apostropheOrQuote(start) else { return }
        let end = letters(rest)
        let first = at(place)
        let isInitial = PTBCharacter.isUpper(first) && first != 0x49 && first != 0x59 || first == 0x6E
        if start == place + 1, isInitial, end - rest >= 2 { offer(end) }
        if start >= place + 2, isOne(of: "aeiouyAEIOUY", start - 1),
            isOne(of: "aeiou", rest) || PTBCharacter.isUpper(at(rest))
        {
            offer(end)
        }
    }

    // MARK: - Abbreviations

    private static func set(_ words: String) -> Set<String> { Set(words.split(separator: " ").map(String.init)) }

    private static let abbreviations = set(
        """
        jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri ala ariz calif colo conn ct dak \
        fla ga ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc wyo inc co cos corp pty ppty \
        ptys pptys ltd plc rt bancorp bhd assn univ intl sys tel est ext sq jr bros esq etc al seq bldg mr mrs ms dr drs \
        prof profs sen sens rep reps atty attys lt col gen messrs gov govs adm rev maj sgt cpl pvt capt st ste ave pres \
        lieut hon brig comdr cmdr pfc spc supt supts det mt ft sr vs alex wm jos cie cf treas ph invt elec natl dept \
        blvd rd
        """)
    /// Words too, unless they begin with a capital letter.
    private static let capitalAbbreviations = set("Ark Del Ill La Mass Miss Ore Pa Tex Wash Mfg Mtg Az")
    private static let beforeNumbers = set("ca fig figs prop no nos art bldg pp op")
    /// An initial before one of these ends a sentence.
    private static let sentenceBeginnings = set(
        """
        About According Additionally After An A As At But Did During Earlier He Her Here How However If In It Last Many More \
        Now Once One Other Our She Since So Some Such That The Their Then There These They This We When While What Who \
        Why Yet You
        """)

    mutating func applyAbbreviationRules() {
        guard isASCIILetter(place) else { return }
        let end = run(from: place, while: PTBCharacter.isASCIILetter)
        guard at(end) == 0x2E else { return }
        if end - place <= 8 {
            let word = String(string(place..<end))
            let lower = word.lowercased()
            let isCapital = PTBCharacter.isUpper(text[place])
            if Self.abbreviations.contains(lower) || isCapital && Self.capitalAbbreviations.contains(word) {
                offer(end + 1)
            }
            let number = isSpace(end + 1) ? end + 2 : end + 1
            if Self.beforeNumbers.contains(lower), isDigit(number) { offer(end + 1, seen: number + 1) }
        }
        for literal in ["a.k.a.", "ph.d.", "ed.d."] as [StaticString] { offer(self.end(of: literal, at: place)) }
        guard end == place + 1 else { return }
        offerAcronym()
    }

    /// Letters with a full stop behind each.
    private mutating func offerAcronym() {
        var end = place + 2
        while isASCIILetter(end), at(end + 1) == 0x2E { end += 2 }
        offer(end)
        guard end == place + 2, isSpace(end) else { return }
        let start = run(from: end, while: PTBCharacter.isSpace)
        let word = run(from: start, limit: 14, while: PTBCharacter.isASCIILetter)
        if isSpace(word), Self.sentenceBeginnings.contains(string(start..<word)) { offer(place + 1, seen: word + 1) }
    }

    // MARK: - Words with hyphens and other things in them

    mutating func applyThingRules() {
        for end in [hyphenated(place), thing(place), companyName(place)] {
            guard let end else { continue }
            offer(end)
            if at(end) == 0x2E, isOne(of: ",;:", end + 1) { offer(end + 1, seen: end + 2) }
        }
        offer(slashed(place))
    }

    /// `jack-of-all-trades`, `1.5-inch`, `non-U.S.`
    private func hyphenated(_ start: Int) -> Int? {
        guard isASCIIAlphanumeric(start) else { return nil }
        let first = run(from: start) {
            PTBCharacter.isASCIILetter($0) || (0x30...0x39).contains($0) || $0 == 0x2E || $0 == 0x2C || $0 == 0xAD
        }
        var end = first
        while at(end) == 0x2D {
            var part = run(from: end + 1) {
                PTBCharacter.isASCIILetter($0) || (0x30...0x39).contains($0) || $0 == 0xAD
            }
            var acronym = end + 1
            while isASCIILetter(acronym), at(acronym + 1) == 0x2E { acronym += 2 }
            if acronym - end > 4 { part = max(part, acronym) }
            guard part > end + 1 else { break }
            end = part
        }
        return end > first ? end : nil
    }

    /// Letters and digits with hyphens or underscores between; `d'`, `l'` and `o'` may begin a part.
    private func thing(_ start: Int) -> Int? {
        func part(_ start: Int) -> Int? {
            var start = start
            if isOne(of: "dDoOlL", start), let rest = apostropheOrQuote(start + 1),
                PTBCharacter.isAlphanumeric(at(rest)), PTBCharacter.isAlphanumeric(at(rest + 1))
            {
                start = rest
            }
            let end = run(from: start, while: PTBCharacter.isAlphanumeric)
            return end > start ? end : nil
        }
        guard var end = part(start) else { return nil }
        while [0x2D, 0x5F, 0x58A, 0x2010, 0x2011].contains(at(end)), let next = part(end + 1) { end = next }
        return end
    }

    /// `AT&T`, `A+B`: in capitals only.
    private func companyName(_ start: Int) -> Int? {
        let first = run(from: start, while: PTBCharacter.isUpper)
        var end = first
        while end > start {
            let mark = self.end(of: "&amp;", at: end) ?? (isOne(of: "+&", end) ? end + 1 : end)
            let next = run(from: mark, while: PTBCharacter.isUpper)
            guard mark > end, next > mark else { break }
            end = next
        }
        return end > first ? end : nil
    }

    /// `and/or`, `12-inch/30cm`: two or three parts.
    private func slashed(_ start: Int) -> Int? {
        func part(_ start: Int) -> Int? {
            var end = run(from: start) { PTBCharacter.isASCIILetter($0) || (0x30...0x39).contains($0) }
            guard end > start else { return nil }
            for _ in 0..<2 where at(end) == 0x2D && isASCIILetter(end + 1) {
                end = run(from: end + 1, while: PTBCharacter.isASCIILetter)
            }
            return end
        }
        guard let first = part(start) else { return nil }
        var end = first
        for _ in 0..<2 {
            let slash = at(end) == 0x5C ? end + 1 : end
            guard at(slash) == 0x2F, let next = part(slash + 1) else { break }
            end = next
        }
        return end > first ? end : nil
    }
}
