internal import Yams

/// Values as YAML on one line.
enum YAMLText {
    /// A value as it was read: what was quoted is quoted, what was not is not.
    static func flow(_ node: Node) -> String {
        switch node {
        case .scalar(let scalar):
            // Within a line, commas and brackets end what is not quoted.
            (scalar.style == .plain || scalar.style == .any) && !scalar.string.contains(where: ",[]{}".contains)
                ? scalar.string : escaped(scalar.string)
        case .sequence(let items): "[" + items.map(flow).joined(separator: ", ") + "]"
        case .mapping(let members):
            "{" + members.map { "\(flow($0.key)): \(flow($0.value))" }.joined(separator: ", ") + "}"
        case .alias: ""
        }
    }

    /// A scalar that every YAML reader takes as this text: plain where that cannot be misread, else in double quotes.
    static func quoted(_ text: String) -> String {
        let isPlain =
            text.first.map { $0.isASCII && $0.isLetter || $0 == "/" } ?? false
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/._-".contains($0)) }
            && !reservedWords.contains(text.lowercased())
        return isPlain ? text : escaped(text)
    }

    /// The shortest decimal that every YAML reader takes as this number: to YAML 1.1, one with an exponent and no point is
    /// text.
    static func number(_ value: Double) -> String {
        let text = value.short
        guard !text.contains("."), let exponent = text.firstIndex(of: "e") else { return text }
        return "\(text[..<exponent]).0\(text[exponent...])"
    }

    /// The text in double quotes, on one line; what is not printable is escaped.
    static func escaped(_ text: some StringProtocol) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case " "..."~", "\u{A0}"..."\u{2027}", "\u{202A}"..."\u{D7FF}", "\u{E000}"..."\u{FEFE}",
                "\u{FF00}"..."\u{FFFD}", "\u{10000}"..."\u{10FFFF}":
                result.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
        return result + "\""
    }

    /// Words that YAML 1.1 readers take for something else than text.
    private static let reservedWords: Set = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
}
