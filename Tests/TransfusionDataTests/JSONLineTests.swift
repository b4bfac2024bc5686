import Testing

@testable import TransfusionData

@Suite struct JSONLineTests {
    func texts(_ line: String, _ keys: String...) throws -> [String] {
        try Array(line.utf8).withUnsafeBytes { try JSONLine.texts(keys, in: $0) }
    }

    /// What Python's `json.loads` gives for the same lines.
    @Test(arguments: [
        (#"{"text": "a"}"#, "a"), (" { \"text\" : \"a\" , \"b\" : 1 } \r", "a"), (#"{"text":""}"#, ""),
        // Of equal keys the last counts; those inside other values are other keys.
        (#"{"text": "a", "text": "b"}"#, "b"), (#"{"text": null, "text": "b"}"#, "b"),
        (#"{"text": "a", "more": {"text": "b", "text": [{"text": "c"}]}}"#, "a"),
        (#"{"te\u0078t": "a"}"#, "a"), (#"{"text": "a", "te\u0078t": "b"}"#, "b"),
        (#"{"text": "\"\\\/\b\f\n\r\té\u00e9😀\ud83d\ude00"}"#, "\"\\/\u{8}\u{C}\n\r\téé😀😀"),
        (#"{"a": [1, -2.5e+3, true, false, null, NaN, Infinity, -Infinity, [], {}, "x\"]}"], "text": "a"}"#, "a"),
    ])
    func linesAreReadAsPythonReadsThem(_ line: String, _ text: String) throws {
        #expect(try texts(line, "text") == [text])
    }

    @Test(arguments: [
        ("[\"a\"]", "it is a list"), ("null", "it is null"), ("7", "it is a number"), ("nonsense", "it is no JSON"),
        ("owl", "it is no JSON"), ("{", "\"\"\" is missing at byte 2"), (#"{"a" 1}"#, "\":\" is missing at byte 6"),
        (#"{"text": "a""#, "\"}\" is missing at byte 13"), (#"{"text": "a"#, "a text has no end at byte 12"),
        (#"{"text": "a"} {}"#, "more follows after it at byte 15"), (#"{"a": 1,}"#, "\"\"\" is missing at byte 9"),
        (#"{"text": "\x"}"#, "an unknown escape at byte 12"), (#"{"text": "\ud800"}"#, "half a character"),
        (#"{"text": "\ude00"}"#, "half a character"), (#"{"text": "\u+123"}"#, "four hexadecimal digits"),
        ("{\"text\": \"a\tb\"}", "a control character in a text at byte 12"), (#"{"a": owl}"#, "no value at byte 7"),
        (#"{"a": 1.2.3}"#, "no value at byte 7"), (#"{"text": 7}"#, "\"text\" is a number and not a text"),
        (#"{"text": "a", "text": {}}"#, "\"text\" is an object and not a text"), ("{}", "\"text\" is missing"),
    ])
    func whatIsWrongIsSaid(_ line: String, _ reason: String) {
        #expect {
            try texts(line, "text")
        } throws: { error in
            (error as? JSONLine.Problem)?.description.contains(reason) == true
        }
    }

    @Test func nestingIsBounded() {
        let line = "{\"a\": " + String(repeating: "[", count: 100_000)
        #expect {
            try texts(line, "text")
        } throws: { ($0 as? JSONLine.Problem)?.description.contains("it is nested too deeply") == true }
    }

    @Test func badUTF8IsNamed() {
        let bytes = Array("{\"text\": \"".utf8) + [0xFF] + Array("\"}".utf8)
        #expect {
            try bytes.withUnsafeBytes { try JSONLine.texts(["text"], in: $0) }
        } throws: { ($0 as? JSONLine.Problem)?.description == "is not UTF-8 text" }
    }
}
