/// A small JSON value as a whole.
enum JSONTree {
    case object([(key: String, value: JSONTree)])
    case list([JSONTree])
    case text(String)
    /// A number, `true`, `false` or `null` as it is written.
    case word(String)

    init(_ reader: inout JSONReader) throws(JSONReader.Problem) {
        if reader.isNext("{") {
            var members: [(key: String, value: JSONTree)] = []
            try reader.object { (reader, key) throws(JSONReader.Problem) in
                members.append((key, try JSONTree(&reader)))
            }
            self = .object(members)
        } else if reader.isNext("[") {
            var elements: [JSONTree] = []
            try reader.list { (reader) throws(JSONReader.Problem) in elements.append(try JSONTree(&reader)) }
            self = .list(elements)
        } else if reader.isNext("\"") {
            self = .text(try reader.text())
        } else {
            self = .word(try reader.word())
        }
    }

    /// The member of an object; of equal keys the last one.
    subscript(key: String) -> JSONTree? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.key == key }?.value
    }

    var text: String? {
        if case .text(let text) = self { text } else { nil }
    }

    var list: [JSONTree]? {
        if case .list(let list) = self { list } else { nil }
    }

    var word: String? {
        if case .word(let word) = self { word } else { nil }
    }

    var integer: Int? { word.flatMap { Int($0) } }
    var flag: Bool? { word.flatMap { Bool($0) } }
    var isNull: Bool { word == "null" }

    /// The `type` of a part of a tokenizer.
    var type: String? { self["type"]?.text }
}
