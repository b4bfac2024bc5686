/// One JSON object on a line of its own, of which some members are read and the others looked over.
enum JSONLine {
    typealias Problem = JSONReader.Problem

    /// Puts the text under a key of the object into `text`.
    /// - Throws: As `texts`.
    static func text(
        _ wanted: String, in line: UnsafeRawBufferPointer, into text: inout [UInt8]
    ) throws(Problem) {
        guard UTF8Text.isValid(line.assumingMemoryBound(to: UInt8.self)) else {
            throw Problem(description: "is not UTF-8 text")
        }
        var reader = JSONReader(line)
        guard reader.isNext("{") else {
            throw Problem(description: "is not a JSON object: it is \(reader.kind)")
        }
        var other: String?
        var isFound = false
        do throws(Problem) {
            try reader.object { (reader, key) throws(Problem) in
                guard key == wanted else { return try reader.skip() }
                isFound = true
                if reader.isNext("\"") {
                    other = nil
                    try reader.text(into: &text)
                } else {
                    other = reader.kind
                    try reader.skip()
                }
            }
            try reader.end()
        } catch {
            throw Problem(description: "is not a JSON object: \(error.description)")
        }
        guard isFound else { throw Problem(description: "\"\(wanted)\" is missing") }
        if let other { throw Problem(description: "\"\(wanted)\" is \(other) and not a text") }
    }

    /// The texts under some keys of the object.
    /// - Throws: `Problem` when one is missing or no text, or when the line is no JSON object.
    static func texts(_ keys: [String], in line: UnsafeRawBufferPointer) throws(Problem) -> [String] {
        guard UTF8Text.isValid(line.assumingMemoryBound(to: UInt8.self)) else {
            throw Problem(description: "is not UTF-8 text")
        }
        var reader = JSONReader(line)
        var found: [String: Result<String, Problem>] = [:]
        guard reader.isNext("{") else {
            throw Problem(description: "is not a JSON object: it is \(reader.kind)")
        }
        do throws(Problem) {
            try reader.object { (reader, key) throws(Problem) in
                guard keys.contains(key) else { return try reader.skip() }
                if reader.isNext("\"") {
                    found[key] = .success(try reader.text())
                } else {
                    found[key] = .failure(Problem(description: "\"\(key)\" is \(reader.kind) and not a text"))
                    try reader.skip()
                }
            }
            try reader.end()
        } catch {
            throw Problem(description: "is not a JSON object: \(error.description)")
        }
        var texts: [String] = []
        for key in keys {
            guard let result = found[key] else { throw Problem(description: "\"\(key)\" is missing") }
            texts.append(try result.get())
        }
        return texts
    }
}
