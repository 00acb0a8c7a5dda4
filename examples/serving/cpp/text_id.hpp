// The id of a text, as homespec makes it in training: the rule of docs/ids.md. No dependency.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace homespec {

constexpr int64_t MISSING = -1;

// ---------------------------------------------------------------- BLAKE2b (RFC 7693), no key

class Blake2b64 {
 public:
  // The digest of 8 bytes, read as a big-endian integer.
  static uint64_t digest(std::string_view text) {
    std::array<uint64_t, 8> h = IV;
    h[0] ^= 0x01010000 ^ 8;  // one tree level, no key, 8 bytes
    size_t done = 0;
    std::array<uint8_t, 128> block{};
    while (text.size() - done > block.size()) {
      std::memcpy(block.data(), text.data() + done, block.size());
      done += block.size();
      compress(h, block, done, false);
    }
    block.fill(0);
    std::memcpy(block.data(), text.data() + done, text.size() - done);
    compress(h, block, text.size(), true);
    uint64_t big_endian = 0;
    for (int i = 0; i < 8; ++i) big_endian = big_endian << 8 | (h[0] >> (8 * i) & 0xff);
    return big_endian;
  }

 private:
  static constexpr std::array<uint64_t, 8> IV = {
      0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
      0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
  static constexpr uint8_t SIGMA[10][16] = {
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
      {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
      {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
      {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
      {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
      {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
      {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
      {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
      {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
      {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

  static uint64_t rotated(uint64_t x, int bits) { return x >> bits | x << (64 - bits); }

  static void mix(uint64_t& a, uint64_t& b, uint64_t& c, uint64_t& d, uint64_t x, uint64_t y) {
    a += b + x;
    d = rotated(d ^ a, 32);
    c += d;
    b = rotated(b ^ c, 24);
    a += b + y;
    d = rotated(d ^ a, 16);
    c += d;
    b = rotated(b ^ c, 63);
  }

  static void compress(
      std::array<uint64_t, 8>& h, const std::array<uint8_t, 128>& block, uint64_t bytes,
      bool last) {
    uint64_t m[16] = {};
    for (int i = 0; i < 128; ++i) m[i / 8] |= uint64_t{block[i]} << (8 * (i % 8));
    uint64_t v[16];
    std::copy(h.begin(), h.end(), v);
    std::copy(IV.begin(), IV.end(), v + 8);
    v[12] ^= bytes;
    if (last) v[14] = ~v[14];
    for (int round = 0; round < 12; ++round) {
      const uint8_t* s = SIGMA[round % 10];
      for (int i = 0; i < 4; ++i)
        mix(v[i], v[4 + i], v[8 + i], v[12 + i], m[s[2 * i]], m[s[2 * i + 1]]);
      for (int i = 0; i < 4; ++i)
        mix(v[i], v[4 + (i + 1) % 4], v[8 + (i + 2) % 4], v[12 + (i + 3) % 4],
            m[s[8 + 2 * i]], m[s[9 + 2 * i]]);
    }
    for (int i = 0; i < 8; ++i) h[i] ^= v[i] ^ v[i + 8];
  }
};

// ---------------------------------------------------------------- whole numbers in text

struct Spelling {
  bool negative = false;
  std::string digits;  // without leading zeros; empty for 0
  int power = 0;       // of ten, that the digits are multiplied by
  bool is_plain = true;  // digits alone
  bool looks_like_float = false;  // a point, or an exponent with a plus
};

// A number as programs print one, taken apart; nothing for other text, such as 007.
inline std::optional<Spelling> parse_number(std::string_view text) {
  Spelling number;
  size_t at = 0;
  auto is_digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  if (text.size() > 40) return std::nullopt;
  if (at < text.size() && text[at] == '-') number.negative = true, ++at;
  if (!is_digit()) return std::nullopt;
  if (text[at] == '0') ++at;
  else
    while (is_digit()) number.digits += text[at++];
  if (is_digit()) return std::nullopt;
  if (at < text.size() && text[at] == '.') {
    number.is_plain = false;
    number.looks_like_float = true;
    for (++at; is_digit(); ++at) {
      number.digits += text[at];
      --number.power;
    }
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    number.is_plain = false;
    ++at;
    bool down = false;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
      number.looks_like_float |= text[at] == '+';
      down = text[at++] == '-';
    }
    size_t begin = at;
    int power = 0;
    while (is_digit()) power = 10 * power + (text[at++] - '0');
    if (at == begin || at - begin > 3) return std::nullopt;
    number.power += down ? -power : power;
  }
  if (at != text.size()) return std::nullopt;
  number.digits.erase(0, std::min(number.digits.find_first_not_of('0'), number.digits.size()));
  return number;
}

// The value of digits below 2^64; nothing for a larger one.
inline std::optional<uint64_t> value_of(const std::string& digits) {
  uint64_t value = 0;
  for (char digit : digits) {
    uint64_t next = digit - '0';
    if (value > (UINT64_MAX - next) / 10) return std::nullopt;
    value = 10 * value + next;
  }
  return value;
}

// The id of the whole number that a text spells, as 64 bits that wrap around; nothing for others.
inline std::optional<int64_t> spelled(std::string_view text) {
  auto number = parse_number(text);
  if (!number) return std::nullopt;
  std::string digits = number->digits;
  if (!number->is_plain) {
    while (!digits.empty() && digits.back() == '0') digits.pop_back(), ++number->power;
    if (digits.empty()) return 0;
    if (number->power < 0) return std::nullopt;  // it has a fraction
    bool is_large = digits.size() + number->power > 16;
    if (!is_large) digits.append(number->power, '0');
    if (is_large || *value_of(digits) >= uint64_t{1} << 53) {
      if (number->looks_like_float)
        throw std::invalid_argument(
            std::string(text) + " may be a rounded float, of several ids");
      return std::nullopt;
    }
  }
  auto value = value_of(digits);
  if (!value || (number->negative && *value > uint64_t{1} << 63)) return std::nullopt;
  return static_cast<int64_t>(number->negative ? ~*value + 1 : *value);
}

// ---------------------------------------------------------------- text -> id

// The id of UTF-8 text. Throws std::invalid_argument for a float that may stand for several ids.
inline int64_t text_id(std::string_view text) {
  constexpr std::string_view blanks = " \t\n\v\f\r";
  size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return MISSING;
  text = text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
  for (std::string_view word : {"NULL", "null", "NaN", "nan", "None"})
    if (text == word) return MISSING;
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return c < 128 ? std::tolower(c) : c;
  });
  if (lower == "true") return 1;
  if (lower == "false") return 0;
  if (auto number = spelled(text)) return *number;
  return static_cast<int64_t>(Blake2b64::digest(text) & INT64_MAX);
}

}  // namespace homespec
