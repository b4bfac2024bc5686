internal import Yams

/// One key of the configuration file: its name, what may stand there, and what it does.
///
/// The reader, the resolved dump, the comparison of two configurations and docs/configuration.md are all made from this
/// description.
public struct ConfigurationKey: Sendable {
    /// The full name, as in `optimizer.beta1`.
    public let path: String
    /// What may stand there, as in `number from 0 to below 1`.
    public let values: String
    public let summary: String
    /// The default, as YAML or in words; nil for a key that every file must set.
    public let defaultValue: String?
    /// Whether a run that goes on in its directory may set the key anew: such keys do not change what is computed.
    public let mayChangeOnResume: Bool

    let read: @Sendable (Node, inout RunConfiguration) throws(UnsuitableValue) -> Void
    /// The value as YAML; nil for a key that only sets others.
    let write: @Sendable (RunConfiguration) -> String?

    init<Value>(
        _ path: String, _ location: any WritableKeyPath<RunConfiguration, Value> & Sendable,
        _ form: ValueForm<Value>, default: Default = .ofType, mayChange: Bool = false, _ summary: String
    ) {
        self.path = path
        self.values = form.description
        self.summary = summary
        self.mayChangeOnResume = mayChange
        defaultValue =
            switch `default` {
            case .ofType: form.write(RunConfiguration()[keyPath: location])
            case .inWords(let words): words
            case .none: nil
            }
        read = { node, configuration throws(UnsuitableValue) in
            configuration[keyPath: location] = try form.read(node)
        }
        write = { form.write($0[keyPath: location]) }
    }

    /// Where the default of a key comes from.
    enum Default {
        /// What a new `RunConfiguration` holds.
        case ofType
        /// It depends on other things, which the words name.
        case inWords(String)
        /// There is none; every file must set the key.
        case none
    }
}

/// Why a node cannot be the value of a key: the end of a sentence that begins with the key.
struct UnsuitableValue: Error {
    let message: String
}

/// How the values of one type are read from and written to YAML.
struct ValueForm<Value>: Sendable {
    let description: String
    let read: @Sendable (Node) throws(UnsuitableValue) -> Value
    let write: @Sendable (Value) -> String?
}

extension ValueForm where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> ValueForm {
        let description =
            range.upperBound == .max
            ? "integer of at least \(range.lowerBound)" : "integer from \(range.lowerBound) to \(range.upperBound)"
        return ValueForm(description: description) { node throws(UnsuitableValue) in
            guard let text = node.plainText, let value = Int(text.replacing("_", with: "")), range.contains(value)
            else {
                throw UnsuitableValue(message: "must be an \(description), not \(node.quoted)")
            }
            return value
        } write: {
            String($0)
        }
    }
}

extension ValueForm where Value == Double {
    static func number(_ range: ClosedRange<Double>) -> ValueForm {
        let description =
            range.upperBound == .greatestFiniteMagnitude
            ? "number of at least \(range.lowerBound.short)"
            : "number from \(range.lowerBound.short) to \(range.upperBound.short)"
        return number(description, range.contains)
    }

    static func number(_ range: Range<Double>) -> ValueForm {
        number("number from \(range.lowerBound.short) to below \(range.upperBound.short)", range.contains)
    }

    static func positiveNumber(to upperBound: Double) -> ValueForm {
        number("number above 0, at most \(upperBound.short)") { $0 > 0 && $0 <= upperBound }
    }

    private static func number(_ description: String, _ holds: @escaping @Sendable (Double) -> Bool) -> ValueForm {
        ValueForm(description: description) { node throws(UnsuitableValue) in
            // `Double` also reads hexadecimal, infinities and NaN, none of which belongs in a configuration.
            guard let text = node.plainText, text.allSatisfy({ "0123456789.eE+-".contains($0) }),
                let value = Double(text), value.isFinite, holds(value)
            else { throw UnsuitableValue(message: "must be a \(description), not \(node.quoted)") }
            return value
        } write: {
            YAMLText.number($0)
        }
    }
}

extension ValueForm where Value == Bool {
    static var flag: ValueForm {
        ValueForm(description: "true or false") { node throws(UnsuitableValue) in
            switch node.plainText?.lowercased() {
            case "true": return true
            case "false": return false
            default: throw UnsuitableValue(message: "must be true or false, not \(node.quoted)")
            }
        } write: {
            $0 ? "true" : "false"
        }
    }
}

extension ValueForm where Value == String {
    /// Text of at least one character that `allows` accepts as a whole.
    static func text(_ description: String, where allows: @escaping @Sendable (String) -> Bool) -> ValueForm {
        ValueForm(description: description) { node throws(UnsuitableValue) in
            guard let text = node.scalar?.string, !text.isEmpty, allows(text) else {
                throw UnsuitableValue(message: "must be \(description), not \(node.quoted)")
            }
            return text
        } write: {
            YAMLText.quoted($0)
        }
    }
}

extension ValueForm where Value == [String] {
    static func texts(atMost limit: Int) -> ValueForm {
        let description = "list of at most \(limit) texts"
        return ValueForm(description: description) { node throws(UnsuitableValue) in
            guard let nodes = node.sequence, nodes.count <= limit else {
                throw UnsuitableValue(message: "must be a \(description), not \(node.quoted)")
            }
            return try nodes.map { item throws(UnsuitableValue) in
                guard let text = item.scalar?.string else {
                    throw UnsuitableValue(message: "must be a \(description); it holds \(item.quoted)")
                }
                return text
            }
        } write: {
            "[" + $0.map(YAMLText.quoted).joined(separator: ", ") + "]"
        }
    }
}

extension ValueForm where Value: RawRepresentable<String> & CaseIterable & SendableMetatype {
    static var choice: ValueForm {
        let names = Value.allCases.map(\.rawValue)
        let description = names.joined(separator: " | ")
        return ValueForm(description: description) { node throws(UnsuitableValue) in
            guard let text = node.scalar?.string, let value = Value(rawValue: text) else {
                throw UnsuitableValue(message: "must be one of \(description), not \(node.quoted)")
            }
            return value
        } write: {
            $0.rawValue
        }
    }
}

extension ValueForm {
    /// The form of an optional value whose absence has a name, as in `auto` or `off`.
    static func either<Wrapped>(_ word: String, or form: ValueForm<Wrapped>) -> ValueForm where Value == Wrapped? {
        let description = "\(word), or \(form.description)"
        // In quotes where YAML 1.1 takes the word for something else; in others, quotes make it a text.
        let written = YAMLText.quoted(word)
        return ValueForm(description: description) { node throws(UnsuitableValue) in
            guard node.plainText != word, written == word || node.scalar?.string != word else { return nil }
            do {
                return try form.read(node)
            } catch {
                throw UnsuitableValue(message: "must be \(description), not \(node.quoted)")
            }
        } write: {
            guard let text = $0.map(form.write) else { return written }
            return text == word ? YAMLText.escaped(word) : text
        }
    }
}

extension Double {
    /// The shortest decimal that reads back as the same number, without a needless fraction.
    var short: String {
        self == rounded() && abs(self) < 1e15 ? String(Int(self)) : description
    }
}

extension Node {
    /// The text of an unquoted scalar.
    fileprivate var plainText: String? {
        guard case .scalar(let scalar) = self, scalar.style == .plain || scalar.style == .any else { return nil }
        return scalar.string
    }

    /// The node as an error message shows it: short, on one line.
    fileprivate var quoted: String {
        switch self {
        case .scalar(let scalar):
            switch scalar.string.count {
            case 0: "empty"
            case ...60: YAMLText.escaped(scalar.string)
            default: YAMLText.escaped(scalar.string.prefix(57) + "...")
            }
        case .mapping: "a section"
        case .sequence: "a list"
        case .alias: "an alias"
        }
    }
}
