/// The classes of characters that the patterns of words tell apart, by Unicode's general categories.
struct CharacterClass: OptionSet {
    let rawValue: UInt8

    /// `\p{L}`
    static let letter = CharacterClass(rawValue: 1)
    /// `\p{N}`
    static let number = CharacterClass(rawValue: 2)
    /// `\s`
    static let space = CharacterClass(rawValue: 4)
    /// `[\r\n]`
    static let newline = CharacterClass(rawValue: 8)
    /// `[^\s\p{L}\p{N}]`
    static let other = CharacterClass(rawValue: 16)
    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
    static let upper = CharacterClass(rawValue: 32)
    /// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
    static let lower = CharacterClass(rawValue: 64)
    static let slash = CharacterClass(rawValue: 128)

    /// The classes of all characters, by their numbers. Made once and never freed.
    nonisolated(unsafe) static let table: UnsafePointer<CharacterClass> = {
        let table = UnsafeMutablePointer<CharacterClass>.allocate(capacity: 0x11_0000)
        for number in 0..<UInt32(0x11_0000) {
            (table + Int(number)).initialize(to: Unicode.Scalar(number).map { CharacterClass($0) } ?? .other)
        }
        return UnsafePointer(table)
    }()

    private init(_ scalar: Unicode.Scalar) {
        let properties = scalar.properties
        var classes: CharacterClass =
            switch properties.generalCategory {
            case .uppercaseLetter, .titlecaseLetter: [.letter, .upper]
            case .lowercaseLetter: [.letter, .lower]
            case .modifierLetter, .otherLetter: [.letter, .upper, .lower]
            case .nonspacingMark, .spacingMark, .enclosingMark: [.other, .upper, .lower]
            case .decimalNumber, .letterNumber, .otherNumber: .number
            default: properties.isWhitespace ? .space : .other
            }
        if scalar == "\r" || scalar == "\n" { classes.insert(.newline) }
        if scalar == "/" { classes.insert(.slash) }
        self = classes
    }

    init(rawValue: UInt8) {
        self.rawValue = rawValue
    }
}
