public import TransfusionCore

/// Why data could not be read, made or written: one line that names the file or setting and the remedy.
public struct DataError: UsageError, Equatable {
    public let description: String
    /// Whether a setting is wrong, which can be seen before any work, and not what was read or written.
    public let isWrongUse: Bool

    public init(_ description: String) {
        self.init(description, isWrongUse: false)
    }

    package init(_ path: String, _ problem: String) {
        self.init("\(path): \(problem)")
    }

    init(wrongUse description: String) {
        self.init(description, isWrongUse: true)
    }

    private init(_ description: String, isWrongUse: Bool) {
        self.isWrongUse = isWrongUse
        // What a file calls its parts may hold anything.
        let isControl = { (scalar: Unicode.Scalar) in scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value }
        guard description.unicodeScalars.contains(where: isControl) else {
            self.description = description
            return
        }
        self.description = description.unicodeScalars.reduce(into: "") {
            $0 += isControl($1) ? $1.escaped(asASCII: true) : String($1)
        }
    }
}
